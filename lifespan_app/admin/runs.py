"""The admin pages of runs: the list, a run, a hook, and deletion."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from lifespan_app import conf
from lifespan_app.history.reading.queries import any_of, conditions_of, tables_exist
from lifespan_app.integration.redaction import masked
from lifespan_app.models import LifespanRun

from . import cells, deletion
from .lists import ASKED, FILTERS, RunList
from .odd_text import answering_any_text

# What only the pages of a run and of a hook need is imported by them: every process with an admin imports
# this module.

MOST_NAMED = 20
"""The most runs that the confirmation of a deletion lists."""
TEMPLATES = "admin/lifespan_app"


@admin.action(permissions=["delete"], description=_("Delete selected runs"))
def delete_selected(
    model_admin: LifespanRunAdmin, request: HttpRequest, queryset: Any
) -> HttpResponse | None:
    """Show a confirmation with the numbers of runs and steps, then delete by query."""
    if request.POST.get("post"):
        count = deletion.delete(queryset, request.user)
        words = ngettext("%d run was deleted.", "%d runs were deleted.", count) % count
        model_admin.message_user(request, words, messages.SUCCESS)
        return None
    run_count, step_count = deletion.counts(queryset)
    live_count = queryset.live().count()
    is_across = request.POST.get("select_across") == "1"
    context = {
        "title": gettext("Delete runs"),
        "run_count": run_count,
        "step_count": step_count,
        "live_count": live_count,
        "runs": queryset[:MOST_NAMED],
        "more": max(run_count - MOST_NAMED, 0),
        "is_across": is_across,
        "selected": [] if is_across else request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
        "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
    }
    return model_admin.page(request, "delete_runs.html", **context)


class LifespanRunAdmin(admin.ModelAdmin):
    """The recorded runs; they can be viewed and deleted, but not added or changed."""

    list_display = (
        "run",
        "what",
        "service",
        "started",
        "times",
    )
    list_display_links = ("run",)
    list_filter = FILTERS
    list_per_page = 100
    search_fields = ("host", "release")
    search_help_text = _(
        "The beginning of a host or of a release, the id of a run, a process id, the key of a hook, or "
        "the class of an error"
    )
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    actions = (delete_selected,)
    actions_on_top = True

    class Media:
        css = {"all": ["lifespan_app/history.css"]}

    # Permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: runs are only recorded."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: recorded runs are not edited."""
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return True for the filters of these pages; other columns have no index."""
        return lookup in ASKED

    def require_view_permission(self, request: HttpRequest, run: LifespanRun | None = None) -> None:
        """Raise ``PermissionDenied`` without the permission to view runs."""
        if not self.has_view_permission(request, run):
            raise PermissionDenied

    # Addresses

    def get_urls(self) -> list[URLPattern]:
        """Return Django's URLs, preceded by those of a hook's page and of a run as JSON."""
        view = self.admin_site.admin_view
        own = [
            path(
                "hook/<str:app_label>/<path:name>/",
                view(self.hook_view),
                name="lifespan_app_lifespanrun_hook",
            ),
            path("<int:pk>/json/", view(self.json_view), name="lifespan_app_lifespanrun_json"),
        ]
        return [*answering_any_text([*own, *super().get_urls()])]

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RunList]:
        """Return the change list class."""
        return RunList

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search in indexed columns."""
        return queryset.filter(any_of(conditions_of(search_term))), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, or the reason why it can't be read."""
        self.require_view_permission(request)
        if missing := self.unavailable_page(request):
            return missing
        context = {"is_recording": conf.get("HISTORY"), "is_filtered": bool(request.GET)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def unavailable_page(self, request: HttpRequest) -> HttpResponse | None:
        """Return a page with the reason why runs can't be read; None if they can."""
        try:
            if tables_exist():
                return None
            error = ""
        except DatabaseError as problem:
            error = masked(str(problem))
        return self.page(request, "unavailable.html", title=gettext("Runs"), error=error)

    def page(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        """Return a page with the context that every page of the site needs."""
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"{TEMPLATES}/lifespanrun/{template}",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "has_view_permission": True,
                "original": context["title"],
                "is_recording": conf.get("HISTORY"),
                "alias": conf.get("HISTORY_DATABASE"),
                **context,
            },
        )

    @admin.display(description=_("run"))
    def run(self, run: LifespanRun) -> SafeString:
        """Return the status and the id."""
        return cells.run(run)

    @admin.display(description=_("what happened"))
    def what(self, run: LifespanRun) -> SafeString:
        """Return the result of the run."""
        return cells.what(run)

    @admin.display(description=_("process"))
    def service(self, run: LifespanRun) -> SafeString:
        """Return service type, release, host, process id and server."""
        return cells.process(run)

    @admin.display(description=_("started"))
    def started(self, run: LifespanRun) -> SafeString | str:
        """Return the start of the run."""
        return cells.moment(run.started_at, timezone.now())

    @admin.display(description=_("times"))
    def times(self, run: Any) -> SafeString | str:
        """Return the startup and the shutdown time."""
        return cells.times(run)

    # A run

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a run."""
        from .run_page import context_of

        self.require_view_permission(request)
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        if missing := self.unavailable_page(request):
            return missing
        run = self.get_object(request, object_id)
        if run is None:
            # Django redirects with a message.
            return super().change_view(request, object_id, form_url, extra_context)
        self.require_view_permission(request, run)
        return self.page(
            request,
            "change_form.html",
            title=gettext("Run %(run)s") % {"run": run},
            original=run,
            has_delete_permission=self.has_delete_permission(request, run),
            **context_of(run, timezone.now()),
            **(extra_context or {}),
        )

    def json_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return a run as JSON."""
        from lifespan_app.history.reading.against_last_good import against_last_good
        from lifespan_app.history.reading.as_json import document

        self.require_view_permission(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            run = LifespanRun.objects.filter(pk=pk).first()
            steps = [] if run is None else list(run.steps.order_by("pk"))
            now = timezone.now()
            against = None if run is None else against_last_good(run, steps, now)
        except DatabaseError as error:
            return JsonResponse({"error": masked(str(error))}, status=503)
        if run is None:
            raise Http404
        self.require_view_permission(request, run)
        found = document(run, steps, now, against)
        answer = JsonResponse(found, json_dumps_params={"indent": 2})
        answer["Content-Disposition"] = f'inline; filename="lifespan-{run.uuid}.json"'
        return answer

    # A hook

    def hook_view(self, request: HttpRequest, app_label: str, name: str) -> HttpResponse:
        """Show the history of one hook."""
        from lifespan_app.history.reading.hook_history import hook_history

        self.require_view_permission(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if missing := self.unavailable_page(request):
            return missing
        key = f"{app_label}.{name}"
        history = hook_history(key)
        answer = self.page(
            request,
            "hook.html",
            title=gettext("Hook %(key)s") % {"key": key},
            original=key,
            key=key,
            hook=history,
            now=timezone.now(),
        )
        if history is None:
            answer.status_code = 404
        return answer

    # Deletion

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Return the numbers of rows to delete, without reading them."""
        chosen = list(objs)
        runs = LifespanRun.objects.filter(pk__in=[run.pk for run in chosen])
        run_count, step_count = deletion.counts(runs)
        numbers = {
            model_ngettext(LifespanRun._meta, run_count): run_count,
            str(LifespanRun.steps.rel.related_model._meta.verbose_name_plural): step_count,
        }
        return [str(run) for run in chosen[:MOST_NAMED]], numbers, set(), []

    def delete_model(self, request: HttpRequest, obj: LifespanRun) -> None:
        """Delete a run; Django writes the log entry."""
        obj.steps.all().delete()
        # Without an alias, a router of the project would choose the database.
        obj.delete(using=obj._state.db)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Return to the list; Django would do so only for users who may change runs."""
        super().response_delete(request, obj_display, obj_id)
        name = "admin:lifespan_app_lifespanrun_changelist"
        return HttpResponseRedirect(reverse(name, current_app=self.admin_site.name))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete runs by query, in batches."""
        deletion.delete(queryset, request.user)
