"""Addresses of the lab."""

from django.urls import path

from training.web import checkpoint_views, iteration_views, run_views, slot_views

urlpatterns = [
    path("", run_views.lab_home, name="lab"),
    path("runs/", run_views.runs, name="lab_runs"),
    path("runs/new/", run_views.new_run, name="new_run"),
    path("runs/new/checks", run_views.new_run_checks, name="new_run_checks"),
    path("runs/compare/", run_views.compare_runs, name="compare_runs"),
    path("runs/<uuid:public_id>/", run_views.run, name="run"),
    path("runs/<uuid:public_id>/rows", run_views.run_rows, name="run_rows"),
    path("runs/<uuid:public_id>/metrics.jsonl", run_views.run_metrics_file, name="run_metrics"),
    path("runs/<uuid:public_id>/medians.jsonl", run_views.run_medians_file, name="run_medians"),
    path("runs/<uuid:public_id>/figures/<slug:name>.svg", run_views.run_figure, name="run_figure"),
    path("runs/<uuid:public_id>/stop", run_views.stop_run, name="stop_run"),
    path("checkpoints/", checkpoint_views.checkpoints, name="lab_checkpoints"),
    path("checkpoints/<str:digest>/", checkpoint_views.checkpoint, name="checkpoint"),
    path(
        "checkpoints/<str:digest>/deploy", checkpoint_views.make_deployment, name="make_deployment"
    ),
    path("deployments/<int:deployment_pk>/trial", slot_views.put_on_trial, name="put_on_trial"),
    path("slots/", slot_views.slots, name="lab_slots"),
    path("slots/<int:pk>/", slot_views.slot, name="slot"),
    path("slots/<int:pk>/promote/<int:deployment_pk>/", slot_views.promote, name="promote"),
    path("slots/<int:pk>/traffic", slot_views.set_traffic, name="set_traffic"),
    path("slots/<int:pk>/retire/<int:deployment_pk>", slot_views.retire, name="retire"),
    path("slots/<int:pk>/roll-back/", slot_views.roll_back, name="roll_back"),
    path("leaderboard/", slot_views.leaderboard, name="leaderboard"),
    path("iterations/", iteration_views.lab_iterations, name="lab_iterations"),
    path("iterations/begin", iteration_views.begin_iteration, name="begin_iteration"),
    path("iterations/<int:number>/", iteration_views.iteration, name="iteration"),
    path(
        "iterations/<int:number>/go-on", iteration_views.advance_iteration, name="advance_iteration"
    ),
    path(
        "iterations/<int:number>/now",
        iteration_views.start_iteration_now,
        name="start_iteration_now",
    ),
    path("iterations/<int:number>/retry", iteration_views.retry_step, name="retry_step"),
    path("iterations/<int:number>/end", iteration_views.end_iteration, name="end_iteration"),
    path("servers/", checkpoint_views.servers, name="lab_servers"),
    path("servers/load", checkpoint_views.load, name="load_checkpoint"),
    path("servers/unload", checkpoint_views.unload, name="unload_checkpoint"),
]
