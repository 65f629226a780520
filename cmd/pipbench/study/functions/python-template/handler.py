"""Renders an invoice as HTML."""
import hashlib

import jinja2

PAGE = jinja2.Environment(autoescape=True).from_string("""<h1>Invoice for {{ name }}</h1>
<table>{% for item in items %}
<tr><td>{{ item.what }}</td><td>{{ "%.2f" | format(item.price) }}</td></tr>{% endfor %}
</table><p>{{ "%.2f" | format(items | sum(attribute="price")) }}</p>
""")


def handler(event, context):
    html = PAGE.render(event)
    return {"bytes": len(html.encode()), "digest": hashlib.sha256(html.encode()).hexdigest()[:16]}
