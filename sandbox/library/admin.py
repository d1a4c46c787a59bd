from django.contrib import admin

from .models import Book


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author", "year", "isbn", "kept_at")
    list_filter = ("kept_at",)
    readonly_fields = ("kept_at",)
    search_fields = ("title", "author", "isbn")
