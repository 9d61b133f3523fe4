from django.urls import path

from recovery.api import views

urlpatterns = [path("health", views.health, name="health")]
