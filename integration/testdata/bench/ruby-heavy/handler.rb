# frozen_string_literal: true

require "active_support/all"
require "sequel"
require "nokogiri"

def handler(event:, context:)
  page = Nokogiri::HTML("<ul><li>one</li><li>two</li></ul>")
  { "items" => page.css("li").map(&:text), "plural" => "package".pluralize, "sql" => Sequel.mock[:items].where(name: "one").sql }
end
