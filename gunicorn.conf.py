globals().update(__import__("runpy").run_path("deployment/gunicorn.conf.py"))
