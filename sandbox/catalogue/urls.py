from django.urls import path

from . import views

app_name = "catalogue"
urlpatterns = [
    path("", views.all_books, name="all"),
    path("<slug:isbn>/", views.one_book, name="book"),
]
