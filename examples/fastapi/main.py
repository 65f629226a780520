from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

app = FastAPI()


@app.get("/", response_class=HTMLResponse)
async def page(request: Request):
    return f"<form action='{request.url_for('convert').path}'>miles: <input name=miles value=26.2> <button>to km</button></form>"


@app.get("/convert")
async def convert(miles: float):
    return {"km": round(miles * 1.609344, 2)}
