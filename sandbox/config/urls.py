from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "The Reading Room"

urlpatterns = [
    path("", include("search.urls")),
    path("books/", include("library.urls")),
    path("notices/", include("notices.urls")),
    path("catalogue/", include("catalogue.urls")),
    path("health/", include("lifespan_app.urls")),
    path("admin/", admin.site.urls),
]
