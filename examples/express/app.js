const express = require('express');

const app = express();

app.get('/', (request, response) => {
  const prefix = request.get('x-forwarded-prefix') ?? '';
  response.send(`<form action='${prefix}/convert'>miles: <input name=miles value=26.2> <button>to km</button></form>`);
});

app.get('/convert', (request, response) => {
  response.json({ km: Math.round(request.query.miles * 160.9344) / 100 });
});

module.exports = app;
