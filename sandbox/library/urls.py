from django.urls import path

from . import views

app_name = "library"
urlpatterns = [
    path("<slug:isbn>/", views.book, name="book"),
]
