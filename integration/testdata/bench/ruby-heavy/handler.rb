# frozen_string_literal: true

require "active_support/all"
require "sequel"
require "nokogiri"

def handler(event:, context:)
  items = Nokogiri::HTML("<ul><li>one</li><li>two</li></ul>").css("li").map(&:text)
  { "items" => items, "plural" => "package".pluralize, "dear" => (Sequel[:price] * 2 > 10).inspect }
end
