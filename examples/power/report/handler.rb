# frozen_string_literal: true

# Takes what the other functions have found, and returns it as a page.

require "erb"

PAGE = ERB.new(<<~HTML, trim_mode: "-")
  <h1>Power at <%= h meter %></h1>
  <p>
  <%- if cycle["chance"] < 0.01 -%>
    The readings follow a cycle of <%= cycle["lag"] %> hours (correlation <%= cycle["strength"] %>).
  <%- else -%>
    The readings follow no cycle.
  <%- end -%>
    In all <%= format("%.2f", total) %> kWh in <%= days.size %> days.
  </p>
  <table>
    <tr><th>day</th><th>kWh</th><th>peak</th></tr>
  <%- days.each do |day| -%>
    <tr<%= ' class="most"' if day["kwh"] == most %>><td><%= h day["day"] %></td><td><%= format("%.2f", day["kwh"]) %></td><td><%= h day["peak"] %></td></tr>
  <%- end -%>
  </table>
  <%- odd.each do |reading| -%>
  <p class="odd"><%= h reading["time"] %>: <%= format("%.2f", reading["kwh"]) %> kWh is unusual.</p>
  <%- end -%>
HTML

def h(text) = ERB::Util.html_escape(text)

def handler(event:, context:)
  days = event["days"]
  PAGE.result_with_hash(
    meter: event["meter"], cycle: event["cycle"], odd: event["odd"], days: days,
    total: days.sum { |day| day["kwh"] }, most: days.map { |day| day["kwh"] }.max
  )
end
