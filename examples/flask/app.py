from flask import Flask, jsonify, request, url_for

app = Flask(__name__)


@app.get("/")
def page():
    return f"<form action='{url_for('convert')}'>miles: <input name=miles value=26.2> <button>to km</button></form>"


@app.get("/convert")
def convert():
    return jsonify(km=round(request.args.get("miles", type=float) * 1.609344, 2))
