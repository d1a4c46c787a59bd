from __future__ import annotations

from django.db import models
from django.urls import reverse

from .facts import BookFacts


class BookManager(models.Manager["Book"]):
    async def keep(self, facts: BookFacts) -> Book:
        """Store a book, and return it. A stored book is not changed."""
        values = {"title": facts.title, "author": facts.author, "year": facts.year}
        book, _ = await self.aget_or_create(isbn=facts.isbn, defaults=values)
        return book


class Book(models.Model):
    """A stored book of the catalogue."""

    isbn = models.CharField("ISBN", max_length=13, unique=True)
    title = models.CharField(max_length=200)
    author = models.CharField(max_length=200)
    year = models.SmallIntegerField("first published")
    kept_at = models.DateTimeField(auto_now_add=True)

    objects = BookManager()

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("library:book", args=[self.isbn])

    @property
    def facts(self) -> BookFacts:
        return BookFacts(isbn=self.isbn, title=self.title, author=self.author, year=self.year)
