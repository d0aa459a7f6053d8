"""The app's login where other machines can reach it: author and key, kept in a cookie and checked on every request.

The cookie holds the key itself and the server stores no session, so that removing a key from the profile ends its
sessions at once and a restart ends none.
"""

from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from twin_assets.serving.access import Access

COOKIE = "twin_login"
SESSION_S = 30 * 24 * 3600

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>LLM Twin: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; background: #f5f3ee; color: #1c1b19; display: grid; place-items: center;
  min-height: 100vh; margin: 0 }}
form {{ background: #fff; padding: 2rem; border: 1px solid #e2ded4; border-radius: 12px; width: 20rem }}
h1 {{ font-size: 1.25rem; margin: 0 0 1rem }} label {{ display: block; margin: .75rem 0 .25rem; font-size: .9rem }}
input {{ width: 100%; box-sizing: border-box; padding: .55rem; font: inherit; border: 1px solid #c9c4b8;
  border-radius: 8px }}
button {{ margin-top: 1.25rem; width: 100%; padding: .6rem; font: inherit; border: 0; border-radius: 8px;
  background: #1f5c57; color: #fff; cursor: pointer }}
p {{ color: #9b2c1d; margin: .75rem 0 0 }} small {{ color: #6b675f }}
</style>
<form method="post" action="/login"><h1>LLM Twin</h1>
<label for="author">Author</label><input id="author" name="author" autocomplete="username" required autofocus>
<label for="key">API key</label><input id="key" name="key" type="password" autocomplete="current-password" required>
<button>Log in</button>{problem}
<p><small>The operator makes a key with <code>twin key add ID</code>.</small></p></form></html>"""


def add_login(app: FastAPI, access: Access) -> None:
    """Add the login page and the logout."""

    @app.get("/login", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(PAGE.format(problem=""))

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode(errors="replace"))
        author, key = (fields.get(name, [""])[0].strip() for name in ("author", "key"))
        if not await run_in_threadpool(access.is_key_of, author, key):
            problem = f"<p>This key does not open {escape(author) or 'anything'}.</p>"
            return HTMLResponse(PAGE.format(problem=problem), 401)
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, f"{author}:{key}", max_age=SESSION_S, httponly=True, samesite="strict", secure=secure
        )
        return response

    @app.get("/logout", include_in_schema=False)
    async def log_out() -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response


async def logged_in(request: Request, access: Access) -> str | None:
    """The author whose key the cookie holds; None without one. Opening the page without one leads to the login."""
    author, _, key = request.cookies.get(COOKIE, "").partition(":")
    valid = await run_in_threadpool(access.is_key_of, author, key)
    if valid:
        return author
    if request.method == "GET" and request.url.path == "/":
        raise HTTPException(303, headers={"Location": "/login"})
    return None
