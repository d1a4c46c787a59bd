"""Planning: from the declared hooks to the plan of one service type. ``build_plan`` is the way in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

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
from lifespan_app.engine.wording import did_you_mean

from .candidate import Candidate, Dependency
from .duplicates import imported_twice, twins_in
from .order import in_order, nodes_in_order
from .plan import DECLARED, NEEDS, Excluded, Gives, Plan

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.hook import HookReference
    from lifespan_app.engine.lease import Refusal
    from lifespan_app.engine.problem import Problem

NO_REFUSALS: Mapping[str, Refusal] = {}

Overrides = Mapping[str, Mapping[str, Any]]
"""The ``HOOKS`` setting: changed options, by a hook's key or ``"*"``."""

NOTHING_UP = {
    SHUTDOWN: "shutdown function",
    BACKGROUND: "background job",
    DRAIN: "drain function",
}
"""Kinds of hooks that no other hook may depend on."""


def build_plan(
    hooks: Iterable[Hook],
    service_type: str,
    *,
    label_of: Callable[[str], str | None] = lambda module: None,
    overrides: Overrides | None = None,
    skip: Collection[str] = (),
    broken: Sequence[Problem] = (),
    advice: Advice = GENERIC,
    refusals: Mapping[str, Refusal] = NO_REFUSALS,
) -> Plan:
    """Make the plan of a service type.

    Args:
        hooks: every declared hook.
        service_type: whose plan it is; a plan for ``server`` holds only the hooks that name it,
            and their dependencies.
        label_of: returns the app label of a module, or None outside an installed app.
        overrides: the ``hooks`` of the settings, by hook key or ``"*"``.
        skip: the keys of hooks to leave out, together with what depends on them.
        broken: problems known before, such as modules that could not be imported.
        advice: the names of settings in the texts.
        refusals: the values of the option ``once`` that can't be used, each with the reason.

    Raises:
        PlanError: all problems, each with file, line and remedy.
    """
    plan, problems = draft_plan(
        hooks, service_type, label_of, overrides or {}, skip, broken, advice, refusals
    )
    if problems:
        cause = next((problem.cause for problem in problems if problem.cause), None)
        raise PlanError(service_type, problems) from cause
    return plan


def draft_plan(
    hooks: Iterable[Hook],
    service_type: str,
    label_of: Callable[[str], str | None],
    overrides: Overrides,
    skip: Collection[str] = (),
    broken: Sequence[Problem] = (),
    advice: Advice = GENERIC,
    refusals: Mapping[str, Refusal] = NO_REFUSALS,
) -> tuple[Plan, list[Problem]]:
    """Return the plan as far as it can be made, for display, and its problems.

    Args:
        hooks, service_type, label_of, overrides, skip, broken, advice, refusals: as for
            ``build_plan``.
    """
    draft = _Draft(hooks, service_type, label_of, overrides, skip, broken, advice)
    draft.refuse(refusals)
    return draft.finish(), draft.problems


class _Draft:
    """A plan in the making, which collects all of its problems."""

    def __init__(
        self,
        hooks: Iterable[Hook],
        service_type: str,
        label_of: Callable[[str], str | None],
        overrides: Overrides,
        skip: Collection[str],
        broken: Sequence[Problem],
        advice: Advice,
    ) -> None:
        self.service_type = service_type
        self.advice = advice
        self.problems: list[Problem] = list(broken)
        self.candidates = self._draft(sorted(hooks, key=attrgetter("order")), label_of, overrides)
        self._choose()
        self._skip(skip)
        self.by_hook = {candidate.hook: candidate for candidate in self.candidates}
        self._index()
        for candidate in self.candidates:
            if not candidate.excluded:
                self._read_dependencies(candidate)
        if service_type == ServiceType.SERVER:
            self._keep_server_hooks()
        self._exclude_unrunnable()

    def refuse(self, refusals: Mapping[str, Refusal]) -> None:
        """Report the hooks that can't run once where they should."""
        for candidate in self.candidates if refusals else ():
            once = candidate.options.once
            refusal = refusals.get(once or "")
            if refusal is not None and not candidate.excluded:
                message = f"'{candidate.key}' has once='{once}', and {refusal.reason}."
                self.problem("once", candidate, message, refusal.hint)

    def problem(self, code: str, at: Candidate | Hook, message: str, hint: str) -> None:
        from lifespan_app.engine.problem import Problem

        hook = at if isinstance(at, Hook) else at.hook
        self.problems.append(Problem(message, hint, hook.file, hook.line, code))

    # The choice of hooks.

    def _draft(
        self,
        hooks: Iterable[Hook],
        label_of: Callable[[str], str | None],
        overrides: Overrides,
    ) -> list[Candidate]:
        labels: dict[str, str] = {}
        for_all = overrides.get("*", {})
        candidates = []
        hooks = self._without_twins(hooks, label_of)
        for hook in hooks:
            label = labels.get(hook.module)
            if label is None:
                label = labels[hook.module] = label_of(hook.module) or hook.module
            options = for_all
            if overrides:
                own = overrides.get(f"{label}.{hook.name}")
                options = {**for_all, **own} if own else for_all
            candidates.append(Candidate(hook, label, options))
            if not options.get("enabled", True):
                candidates[-1].exclude(f"disabled by the {self.advice.name_of('hooks')} setting")
        return candidates

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
            self.problem(
                "imported twice",
                hook,
                imported_twice(name, twin),
                "Python runs a file once for each name. Look for a folder that is in sys.path "
                "together with one that it stands in.",
            )
        return [hook for hook in hooks if hook.module not in twins]

    def _choose(self) -> None:
        for candidate in self.candidates:
            types = candidate.hook.service_types
            if types is not None and self.service_type not in types and not candidate.excluded:
                listed = ", ".join(sorted(types)) or "none"
                candidate.exclude(f"for service type {listed}, not {self.service_type}")

    def _skip(self, keys: Collection[str]) -> None:
        self.skipped: set[int] = set()
        for candidate in self.candidates if keys else ():
            if candidate.key in keys and not candidate.excluded:
                candidate.exclude(f"left out by {self.advice.name_of('skip')}")
                self.skipped.add(id(candidate))
        if keys and not self.problems:  # else a module with such a hook may be missing
            known = sorted({candidate.key for candidate in self.candidates})
            for key in sorted(set(keys) - set(known)):
                self.problems.append(self._unknown_to_skip(key, known))

    def _unknown_to_skip(self, key: str, known: list[str]) -> Problem:
        from lifespan_app.engine.problem import Problem

        message = f"{self.advice.name_of('skip')} names '{key}', which is no hook's key."
        return Problem(
            f"{message}{did_you_mean(key, known)}",
            f"Correct the key, or remove it. {listed('Hooks', known)}",
            code="skip",
        )

    def _keep_server_hooks(self) -> None:
        kept: set[int] = set()
        ready = [
            candidate
            for candidate in self.candidates
            if not candidate.excluded and candidate.hook.service_types is not None
        ]
        while ready:
            candidate = ready.pop()
            if id(candidate) in kept:
                continue
            kept.add(id(candidate))
            ready += (
                dependency.target
                for dependency in candidate.dependencies
                if not dependency.target.excluded
            )
        for candidate in self.candidates:
            if not candidate.excluded and id(candidate) not in kept:
                candidate.exclude("does not name service type server, nor is it needed there")

    def _exclude_unrunnable(self) -> None:
        ready = [candidate for candidate in self.candidates if candidate.excluded]
        if not ready:
            return
        dependents: dict[int, dict[Candidate, None]] = {}
        for candidate in self.candidates:
            for dependency in candidate.dependencies:
                if not dependency.has_default:
                    dependents.setdefault(id(dependency.target), {})[candidate] = None
        while ready:
            missing = ready.pop()
            for candidate in dependents.get(id(missing), ()):
                if candidate.excluded:
                    continue
                if id(missing) in self.skipped:
                    self.skipped.add(id(candidate))
                    skip = self.advice.name_of("skip")
                    candidate.exclude(f"needs '{missing.key}', which is left out by {skip}")
                    ready.append(candidate)
                elif candidate.options.required:
                    self.problem(
                        "left out",
                        candidate,
                        f"Hook '{candidate.key}' needs {missing}, which is left out here: "
                        f"{missing.excluded}.",
                        "Let both run for the same service types, make the hook optional with "
                        "required=False, or give the parameter a default.",
                    )
                else:
                    candidate.exclude(f"needs '{missing.key}', which is left out")
                    ready.append(candidate)

    # Names.

    def _index(self) -> None:
        self.by_key: dict[str, Candidate] = {}
        self.resources: dict[str, Candidate] = {}
        self.by_state_name: dict[str, Candidate] = {}
        for candidate in self.candidates:
            kind = candidate.hook.kind
            other = self.by_key.get(candidate.key)
            # Hooks that run come before excluded ones, start functions before shutdown functions.
            if other is None:
                self.by_key[candidate.key] = candidate
            else:
                if not (candidate.excluded or other.excluded):
                    self._refuse_one_key(other, candidate)
                if (bool(candidate.excluded), kind is Kind.SHUTDOWN) < (
                    bool(other.excluded),
                    other.hook.kind is Kind.SHUTDOWN,
                ):
                    self.by_key[candidate.key] = candidate
            if kind is RESOURCE:
                other = self.resources.get(candidate.key)
                if other is None or (other.excluded and not candidate.excluded):
                    self.resources[candidate.key] = candidate
                self._index_state_name(candidate)

    def _index_state_name(self, candidate: Candidate) -> None:
        name = candidate.options.state_name
        if name is not candidate.hook.options.state_name:
            setting = self.advice.name_of("hooks")
            try:
                refuse_name(name, str(candidate))
            except ValueError as error:
                self.problem("state name", candidate, str(error), f"Change the {setting} setting.")
        other = self.by_state_name.get(name)
        if other is None or other.excluded:
            self.by_state_name[name] = candidate
        elif not candidate.excluded and other.key != candidate.key:
            suggestion = f"{candidate.label.replace('.', '_')}_{candidate.hook.name}"
            self.problem(
                "state name",
                candidate,
                f"Two resources are called '{name}' in the state: {other} and {candidate}.",
                "Give one another state_name=, or set "
                f"{self.advice.option_set(candidate.key, 'state_name', suggestion)}.",
            )

    def _refuse_one_key(self, one: Candidate, two: Candidate) -> None:
        if {one.hook.kind, two.hook.kind} == {Kind.START, Kind.SHUTDOWN}:
            return
        if one.hook.kind is two.hook.kind is Kind.MANAGER:
            # Hooks that were registered without a name can't get another one.
            return
        self.problem(
            "key",
            two,
            f"Two hooks have the key '{two.key}': {one.hook.file}:{one.hook.line} and "
            f"{two.hook.file}:{two.hook.line}.",
            "Rename one of them, or give it a name=.",
        )

    # The dependencies of each hook.

    def _read_dependencies(self, candidate: Candidate) -> None:
        try:
            parameters = parameters_of(candidate.hook)
        except (TypeError, ValueError) as error:
            self.problem(
                "signature",
                candidate,
                f"The signature of '{candidate.key}' can't be read: {one_line(error)}",
                "Wrap it in a function of your own.",
            )
            parameters = ()
        if parameters:
            is_lone = sum(parameter.required for parameter in parameters) == 1
            for parameter in parameters:
                self._read_parameter(candidate, parameter, is_lone=is_lone)
        for wanted in candidate.hook.depends_on:
            target = self._find_declared(candidate, wanted)
            if target is not None:
                candidate.add_dependency(Dependency(target, DECLARED, "depends_on"))

    def _read_parameter(self, candidate: Candidate, parameter: Parameter, *, is_lone: bool) -> None:
        name = parameter.name
        if parameter.positional_only:
            self.problem(
                "signature",
                candidate,
                f"Parameter '{name}' of '{candidate.key}' is positional-only; hooks are called with "
                "names.",
                "Remove the '/' from the signature.",
            )
            return
        annotation, unreadable = self._annotation(candidate.hook, parameter)
        if name == "context" or annotation is LifespanContext:
            candidate.add_argument(name, Gives.CONTEXT)
            return
        if name == "state":
            candidate.add_argument(name, Gives.STATE)
            return
        if unreadable:
            self.problem(
                "annotation",
                candidate,
                f"The annotation of parameter '{name}' of '{candidate.key}' can't be read: "
                f"{unreadable}.",
                "Import what it names at the module's top, outside 'if TYPE_CHECKING'.",
            )
            return
        handled = hook_in(annotation)
        if handled is None:
            target = self._find_named(candidate, name)
        else:
            target = self.by_hook.get(handled)
            if target is None:
                self._refuse_foreign(candidate, handled)
                return
        if target is not None and target is not candidate:
            detail = f"parameter '{name}'"
            candidate.add_dependency(
                Dependency(target, NEEDS, detail, name, not parameter.required)
            )
        elif is_lone and parameter.required and name in CONTEXT_NAMES:
            candidate.add_argument(name, Gives.CONTEXT)
        elif parameter.required:
            self._refuse_parameter(candidate, name)

    def _annotation(self, hook: Hook, parameter: Parameter) -> tuple[Any, str]:
        """Return the annotation, and the reason that it can't be read if that matters."""
        annotation = parameter.annotation
        text = text_of(annotation)
        if text is None:
            return annotation, ""
        try:
            # An annotation is the module's own code, which PEP 649 or PEP 563 has deferred:
            # https://peps.python.org/pep-0649/
            names = namespace_of(hook)
            value = eval(text, names)
            # PEP 563 leaves a text in the place of an annotation in quotes.
            return (eval(value, names) if isinstance(value, str) else value), ""
        except Exception as error:
            if "Annotated" in text or get_origin(annotation) is Annotated:
                return None, one_line(error)
            if text.split(".")[-1].strip("'\"") == LifespanContext.__name__:
                return LifespanContext, ""
            return None, ""

    def _find_named(self, candidate: Candidate, name: str) -> Candidate | None:
        own = self.resources.get(f"{candidate.label}.{name}")
        return self.by_state_name.get(name) if own is None or own is candidate else own

    def _find_declared(self, candidate: Candidate, wanted: HookReference) -> Candidate | None:
        target: Candidate | None
        if isinstance(wanted, str):
            target = self.by_key.get(wanted) or self.by_key.get(f"{candidate.label}.{wanted}")
            if target is None:
                known = sorted(
                    other.key
                    for other in self.candidates
                    if other.hook.kind in (Kind.RESOURCE, Kind.START) and other is not candidate
                )
                self.problem(
                    "missing",
                    candidate,
                    f"Hook '{candidate.key}' depends on '{wanted}', which no app declares."
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
                of_function = [other for other in self.candidates if other.hook.function == wanted]
                of_function.sort(key=lambda other: other.hook.kind is Kind.SHUTDOWN)
                target = of_function[0] if of_function else None
            if target is None:
                self._refuse_foreign(candidate, hook)
                return None
        what = NOTHING_UP.get(target.hook.kind)
        if what is not None:
            self.problem(
                "missing",
                candidate,
                f"Hook '{candidate.key}' depends on the {what} {target}, and nothing may depend on "
                "one: it has nothing that is up.",
                "Depend on a resource or a start function.",
            )
            return None
        return target

    def _refuse_foreign(self, candidate: Candidate, wanted: object) -> None:
        self.problem(
            "missing",
            candidate,
            f"Hook '{candidate.key}' depends on {wanted!r}, which is declared nowhere in this "
            "registry.",
            "Declare it with a decorator of the same Lifespan.",
        )

    def _refuse_parameter(self, candidate: Candidate, name: str) -> None:
        known = sorted(set(self.by_state_name) - {candidate.options.state_name})
        qualified = candidate.hook.qualified_name.rpartition(".")[0]
        if name == "self" and qualified and not qualified.endswith("<locals>"):
            self.problem(
                "signature",
                candidate,
                f"Hook '{candidate.key}' is a method without its object: nothing can be given for "
                "'self'.",
                f"Register the bound method, once there is an object: "
                f"lifespan.{DECORATORS[candidate.hook.kind]}"
                f"({qualified.rpartition('.')[2].lower()}.{candidate.hook.name}).",
            )
            return
        other = "other " if name in (candidate.hook.name, candidate.options.state_name) else ""
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
            candidate,
            f"Parameter '{name}' of '{candidate.key}' matches no {other}resource."
            f"{did_you_mean(name, known)}",
            hint,
        )

    # The plan.

    def finish(self) -> Plan:
        """Sort the hooks, and connect them."""
        running = [candidate for candidate in self.candidates if not candidate.excluded]
        # Drain functions run once the shutdown is announced, so they are sorted apart: they follow
        # their dependencies, and pass them no priority.
        drains = [candidate for candidate in running if candidate.hook.kind is DRAIN]
        if drains:
            running = [candidate for candidate in running if candidate.hook.kind is not DRAIN]
        order, cycles = in_order(running)
        for cycle in cycles:
            self._report_cycle(cycle)
        excluded = [
            Excluded(candidate.key, candidate.excluded, candidate.hook.file, candidate.hook.line)
            for candidate in self.candidates
            if candidate.excluded
        ]
        return Plan(self.service_type, nodes_in_order(order, drains), excluded)

    def _report_cycle(self, cycle: list[Candidate]) -> None:
        """Report a cycle whole, with every edge's reason."""
        lines = []
        for one, two in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            dependency = next(
                dependency for dependency in one.dependencies if dependency.target is two
            )
            lines.append(
                f"\n      {one} waits for '{two.key}': {dependency.reason}, {dependency.detail}"
            )
        self.problem(
            "cycle",
            cycle[0],
            f"Dependency cycle:{''.join(lines)}",
            "Remove one of these dependencies: a parameter, or an entry of depends_on=.",
        )


def hook_in(annotation: Any) -> Hook | None:
    """Return the hook of the handle in ``Annotated[T, handle]``, or None."""
    if annotation is not None and get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            hook = getattr(extra, "hook", None)
            if isinstance(hook, Hook):
                return hook
    return None
