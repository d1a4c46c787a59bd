"""Planning: from the declared hooks to the plan of one service type. ``build_plan`` is the way in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, get_args, get_origin

from lifespan_app.engine.advice import GENERIC, Advice
from lifespan_app.engine.context import LifespanContext, ServiceType
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import PlanError, listed
from lifespan_app.engine.hooks.hook import (
    BACKGROUND,
    DECORATORS,
    DRAIN,
    RESOURCE,
    SHUTDOWN,
    Hook,
    HookReference,
    Kind,
    Parameter,
    refuse_name,
)
from lifespan_app.engine.hooks.signature import (
    CONTEXT_NAMES,
    OF_FASTAPI,
    namespace_of,
    parameters_of,
    text_of,
)
from lifespan_app.engine.problem import Problem
from lifespan_app.engine.wording import did_you_mean

from .candidate import Candidate, Dependency
from .duplicates import imported_twice, twins_in
from .order import in_order, nodes_in_order
from .plan import DECLARED, NEEDS, Excluded, Gives, Plan

Overrides = Mapping[str, Mapping[str, Any]]
"""The ``HOOKS`` setting: what is changed of a hook, by its key or ``"*"``."""

NOTHING_UP = {
    SHUTDOWN: "shutdown function",
    BACKGROUND: "background job",
    DRAIN: "drain function",
}
"""What nothing may depend on."""


def build_plan(
    hooks: Iterable[Hook],
    service_type: str,
    *,
    label_of: Callable[[str], str | None] = lambda module: None,
    overrides: Overrides | None = None,
    broken: Sequence[Problem] = (),
    advice: Advice = GENERIC,
) -> Plan:
    """Make the plan of a service type.

    Args:
        hooks: every declared hook.
        service_type: whose plan it is; a plan for ``server`` holds only the hooks that name it,
            and what they need.
        label_of: gives the app label of a module, or None outside an installed app.
        overrides: the ``hooks`` of the settings, by hook key or ``"*"``.
        broken: problems known before, such as modules that could not be imported.
        advice: how settings are called in what is said.

    Raises:
        PlanError: naming everything that is wrong, each with file, line and what to do.
    """
    plan, problems = draft_plan(hooks, service_type, label_of, overrides or {}, broken, advice)
    if problems:
        cause = next((problem.cause for problem in problems if problem.cause), None)
        raise PlanError(service_type, problems) from cause
    return plan


def draft_plan(
    hooks: Iterable[Hook],
    service_type: str,
    label_of: Callable[[str], str | None],
    overrides: Overrides,
    broken: Sequence[Problem] = (),
    advice: Advice = GENERIC,
) -> tuple[Plan, list[Problem]]:
    """Return as much of a plan as can be made, to be looked at, and what is wrong with it.

    Args:
        hooks, service_type, label_of, overrides, broken, advice: as for ``build_plan``.
    """
    draft = _Draft(hooks, service_type, label_of, overrides, broken, advice)
    return draft.finish(), draft.problems


class _Draft:
    """The making of a plan, problem by problem, so that all of them are told at once."""

    def __init__(
        self,
        hooks: Iterable[Hook],
        service_type: str,
        label_of: Callable[[str], str | None],
        overrides: Overrides,
        broken: Sequence[Problem],
        advice: Advice,
    ) -> None:
        self.service_type = service_type
        self.advice = advice
        self.problems: list[Problem] = list(broken)
        self.drafted = self._draft(sorted(hooks, key=attrgetter("order")), label_of, overrides)
        self._choose()
        self.by_hook = {drafted.hook: drafted for drafted in self.drafted}
        self._index()
        for drafted in self.drafted:
            if not drafted.excluded:
                self._read_asks(drafted)
        if service_type == ServiceType.SERVER:
            self._keep_what_names_the_server()
        self._leave_out_what_cannot_run()

    def problem(self, code: str, at: Candidate, message: str, hint: str) -> None:
        self.problems.append(Problem(message, hint, at.hook.file, at.hook.line, code))

    # Which hooks.

    def _draft(
        self,
        hooks: Iterable[Hook],
        label_of: Callable[[str], str | None],
        overrides: Overrides,
    ) -> list[Candidate]:
        labels: dict[str, str] = {}
        for_all = overrides.get("*", {})
        drafted = []
        hooks = self._without_twins(hooks, label_of)
        for hook in hooks:
            label = labels.get(hook.module)
            if label is None:
                label = labels[hook.module] = label_of(hook.module) or hook.module
            options = for_all
            if overrides:
                own = overrides.get(f"{label}.{hook.name}")
                options = {**for_all, **own} if own else for_all
            drafted.append(Candidate(hook, label, options))
            if not options.get("enabled", True):
                drafted[-1].leave_out(f"disabled by the {self.advice.name_of('hooks')} setting")
        return drafted

    def _without_twins(
        self, hooks: Iterable[Hook], label_of: Callable[[str], str | None]
    ) -> list[Hook]:
        hooks = list(hooks)
        first: dict[str, Hook] = {}
        for hook in hooks:
            first.setdefault(hook.module, hook)
        twins = set()
        for name, twin in twins_in(first, label_of):
            twins.add(twin)
            hook = first[twin]
            self.problems.append(
                Problem(
                    imported_twice(name, twin),
                    "Python runs a file once for each name. Look for a folder that is in sys.path "
                    "together with one that it stands in.",
                    hook.file,
                    hook.line,
                    "imported twice",
                )
            )
        return [hook for hook in hooks if hook.module not in twins]

    def _choose(self) -> None:
        for drafted in self.drafted:
            types = drafted.hook.service_types
            if types is not None and self.service_type not in types and not drafted.excluded:
                listed = ", ".join(sorted(types)) or "none"
                drafted.leave_out(f"for service type {listed}, not {self.service_type}")

    def _keep_what_names_the_server(self) -> None:
        kept: set[int] = set()
        ready = [
            drafted
            for drafted in self.drafted
            if not drafted.excluded and drafted.hook.service_types is not None
        ]
        while ready:
            drafted = ready.pop()
            if id(drafted) in kept:
                continue
            kept.add(id(drafted))
            ready += (ask.target for ask in drafted.asks if not ask.target.excluded)
        for drafted in self.drafted:
            if not drafted.excluded and id(drafted) not in kept:
                drafted.leave_out("does not name service type server, nor is it needed there")

    def _leave_out_what_cannot_run(self) -> None:
        ready = [drafted for drafted in self.drafted if drafted.excluded]
        if not ready:
            return
        dependents: dict[int, dict[Candidate, None]] = {}
        for drafted in self.drafted:
            for ask in drafted.asks:
                if not ask.has_default:
                    dependents.setdefault(id(ask.target), {})[drafted] = None
        while ready:
            missing = ready.pop()
            for drafted in dependents.get(id(missing), ()):
                if drafted.excluded:
                    continue
                if drafted.options.required:
                    self.problem(
                        "left out",
                        drafted,
                        f"Hook '{drafted.key}' needs {missing}, which is left out here: "
                        f"{missing.excluded}.",
                        "Let both run for the same service types, make the hook optional with "
                        "required=False, or give the parameter a default.",
                    )
                else:
                    drafted.leave_out(f"needs '{missing.key}', which is left out")
                    ready.append(drafted)

    # Names.

    def _index(self) -> None:
        self.by_key: dict[str, Candidate] = {}
        self.resources: dict[str, Candidate] = {}
        self.by_state_name: dict[str, Candidate] = {}
        for drafted in self.drafted:
            kind = drafted.hook.kind
            other = self.by_key.get(drafted.key)
            # What runs goes before what is left out; a start function before its shutdown.
            if other is None:
                self.by_key[drafted.key] = drafted
            else:
                if not (drafted.excluded or other.excluded):
                    self._refuse_one_key(other, drafted)
                if (bool(drafted.excluded), kind is Kind.SHUTDOWN) < (
                    bool(other.excluded),
                    other.hook.kind is Kind.SHUTDOWN,
                ):
                    self.by_key[drafted.key] = drafted
            if kind is RESOURCE:
                other = self.resources.get(drafted.key)
                if other is None or (other.excluded and not drafted.excluded):
                    self.resources[drafted.key] = drafted
                self._index_state_name(drafted)

    def _index_state_name(self, drafted: Candidate) -> None:
        name = drafted.options.state_name
        if name is not drafted.hook.options.state_name:
            setting = self.advice.name_of("hooks")
            try:
                refuse_name(name, str(drafted))
            except ValueError as error:
                self.problem("state name", drafted, str(error), f"Change the {setting} setting.")
        other = self.by_state_name.get(name)
        if other is None or other.excluded:
            self.by_state_name[name] = drafted
        elif not drafted.excluded and other.key != drafted.key:
            suggestion = f"{drafted.label.replace('.', '_')}_{drafted.hook.name}"
            self.problem(
                "state name",
                drafted,
                f"Two resources are called '{name}' in the state: {other} and {drafted}.",
                "Give one another state_name=, or set "
                f"{self.advice.option_set(drafted.key, 'state_name', suggestion)}.",
            )

    def _refuse_one_key(self, one: Candidate, two: Candidate) -> None:
        if {one.hook.kind, two.hook.kind} == {Kind.START, Kind.SHUTDOWN}:
            return
        if one.hook.kind is two.hook.kind is Kind.MANAGER:
            # Registered without a name, they can be given no other.
            return
        self.problem(
            "key",
            two,
            f"Two hooks have the key '{two.key}': {one.hook.file}:{one.hook.line} and "
            f"{two.hook.file}:{two.hook.line}.",
            "Rename one of them, or give it a name=.",
        )

    # What each hook asks for.

    def _read_asks(self, drafted: Candidate) -> None:
        try:
            parameters = parameters_of(drafted.hook)
        except (TypeError, ValueError) as error:
            self.problem(
                "signature",
                drafted,
                f"The signature of '{drafted.key}' can't be read: {one_line(error)}",
                "Wrap it in a function of your own.",
            )
            parameters = ()
        if parameters:
            is_lone = sum(parameter.required for parameter in parameters) == 1
            for parameter in parameters:
                self._read_parameter(drafted, parameter, is_lone=is_lone)
        for wanted in drafted.hook.depends_on:
            target = self._find_declared(drafted, wanted)
            if target is not None:
                drafted.ask_for(Dependency(target, DECLARED, "depends_on"))

    def _read_parameter(self, drafted: Candidate, parameter: Parameter, *, is_lone: bool) -> None:
        name = parameter.name
        if parameter.positional_only:
            self.problem(
                "signature",
                drafted,
                f"Parameter '{name}' of '{drafted.key}' is positional-only; hooks are called with "
                "names.",
                "Remove the '/' from the signature.",
            )
            return
        annotation, unreadable = self._annotation(drafted.hook, parameter)
        if name == "context" or annotation is LifespanContext:
            drafted.be_given(name, Gives.CONTEXT)
            return
        if name == "state":
            drafted.be_given(name, Gives.STATE)
            return
        if unreadable:
            self.problem(
                "annotation",
                drafted,
                f"The annotation of parameter '{name}' of '{drafted.key}' can't be read: "
                f"{unreadable}.",
                "Import what it names at the module's top, outside 'if TYPE_CHECKING'.",
            )
            return
        handled = hook_in(annotation)
        if handled is None:
            target = self._find_named(drafted, name)
        else:
            target = self.by_hook.get(handled)
            if target is None:
                self._refuse_foreign(drafted, handled)
                return
        if target is not None and target is not drafted:
            detail = f"parameter '{name}'"
            drafted.ask_for(Dependency(target, NEEDS, detail, name, not parameter.required))
        elif is_lone and parameter.required and name in CONTEXT_NAMES:
            drafted.be_given(name, Gives.CONTEXT)
        elif parameter.required:
            self._refuse_parameter(drafted, name)

    def _annotation(self, hook: Hook, parameter: Parameter) -> tuple[Any, str]:
        """Return the annotation, and why it can't be read where that matters."""
        annotation = parameter.annotation
        text = text_of(annotation)
        if text is None:
            return annotation, ""
        try:
            # Annotations are the module's own code, held back by Python 3.14 or `from __future__`.
            return eval(text, namespace_of(hook)), ""
        except Exception as error:
            if "Annotated" in text or get_origin(annotation) is Annotated:
                return None, one_line(error)
            if text.split(".")[-1].strip("'\"") == LifespanContext.__name__:
                return LifespanContext, ""
            return None, ""

    def _find_named(self, drafted: Candidate, name: str) -> Candidate | None:
        own = self.resources.get(f"{drafted.label}.{name}")
        return self.by_state_name.get(name) if own is None or own is drafted else own

    def _find_declared(self, drafted: Candidate, wanted: HookReference) -> Candidate | None:
        target: Candidate | None
        if isinstance(wanted, str):
            target = self.by_key.get(wanted) or self.by_key.get(f"{drafted.label}.{wanted}")
            if target is None:
                known = sorted(
                    other.key
                    for other in self.drafted
                    if other.hook.kind in (Kind.RESOURCE, Kind.START) and other is not drafted
                )
                self.problem(
                    "missing",
                    drafted,
                    f"Hook '{drafted.key}' depends on '{wanted}', which no app declares."
                    f"{did_you_mean(wanted, known)}",
                    f"Correct the name in depends_on=, or install the app. {listed('Hooks', known)}",
                )
                return None
        else:
            hook = getattr(wanted, "hook", None)
            if isinstance(hook, Hook):
                target = self.by_hook.get(hook)
            else:
                hook = wanted
                of_function = [other for other in self.drafted if other.hook.function == wanted]
                of_function.sort(key=lambda other: other.hook.kind is Kind.SHUTDOWN)
                target = of_function[0] if of_function else None
            if target is None:
                self._refuse_foreign(drafted, hook)
                return None
        what = NOTHING_UP.get(target.hook.kind)
        if what is not None:
            self.problem(
                "missing",
                drafted,
                f"Hook '{drafted.key}' depends on the {what} {target}, and nothing may depend on "
                "one: it has nothing that is up.",
                "Depend on a resource or a start function.",
            )
            return None
        return target

    def _refuse_foreign(self, drafted: Candidate, wanted: object) -> None:
        self.problem(
            "missing",
            drafted,
            f"Hook '{drafted.key}' depends on {wanted!r}, which is declared nowhere in this "
            "registry.",
            "Declare it with a decorator of the same Lifespan.",
        )

    def _refuse_parameter(self, drafted: Candidate, name: str) -> None:
        known = sorted(set(self.by_state_name) - {drafted.options.state_name})
        qualified = drafted.hook.qualified_name.rpartition(".")[0]
        if name == "self" and qualified and not qualified.endswith("<locals>"):
            self.problem(
                "signature",
                drafted,
                f"Hook '{drafted.key}' is a method without its object: nothing can be given for "
                "'self'.",
                f"Register the bound method, once there is an object: "
                f"lifespan.{DECORATORS[drafted.hook.kind]}"
                f"({qualified.rpartition('.')[2].lower()}.{drafted.hook.name}).",
            )
            return
        other = "other " if name in (drafted.hook.name, drafted.options.state_name) else ""
        if name in CONTEXT_NAMES:
            hint = "Call the parameter 'context', or annotate it as LifespanContext."
        elif name in OF_FASTAPI:
            hint = (
                f"A hook is not given the application, as the lifespan functions of FastAPI and "
                f"Starlette are: remove '{name}'. What those put into app.state, a resource yields."
            )
        else:
            hint = (
                f"{listed('Resources', known)} Correct the name, give it a default, or, for the "
                "context, call it 'context' or annotate it as LifespanContext."
            )
        self.problem(
            "missing",
            drafted,
            f"Parameter '{name}' of '{drafted.key}' matches no {other}resource."
            f"{did_you_mean(name, known)}",
            hint,
        )

    # The plan.

    def finish(self) -> Plan:
        """Order what runs, and tie it together."""
        running = [drafted for drafted in self.drafted if not drafted.excluded]
        # What runs as soon as the shutdown is known has no place among the others: it stands on
        # what it asks for, and gives that no priority.
        drains = [drafted for drafted in running if drafted.hook.kind is DRAIN]
        if drains:
            running = [drafted for drafted in running if drafted.hook.kind is not DRAIN]
        order, cycles = in_order(running)
        for cycle in cycles:
            self._tell_cycle(cycle)
        excluded = [
            Excluded(drafted.key, drafted.excluded, drafted.hook.file, drafted.hook.line)
            for drafted in self.drafted
            if drafted.excluded
        ]
        return Plan(self.service_type, nodes_in_order(order, drains), excluded)

    def _tell_cycle(self, cycle: list[Candidate]) -> None:
        """Report a cycle whole, with every edge's reason."""
        lines = []
        for one, two in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            ask = next(ask for ask in one.asks if ask.target is two)
            lines.append(f"\n      {one} waits for '{two.key}': {ask.reason}, {ask.detail}")
        self.problem(
            "cycle",
            cycle[0],
            f"Dependency cycle:{''.join(lines)}",
            "Remove one of these dependencies: a parameter, or an entry of depends_on=.",
        )


def hook_in(annotation: Any) -> Hook | None:
    """Return the hook whose handle stands in ``Annotated[T, handle]``, or None."""
    if annotation is not None and get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            hook = getattr(extra, "hook", None)
            if isinstance(hook, Hook):
                return hook
    return None
