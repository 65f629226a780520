# frozen_string_literal: true

require "active_support/all"
require "sequel"
require "nokogiri"

def handler(event:, context:)
  items = Nokogiri::XML("<items><item>one</item><item>two</item></items>").root.elements.map(&:text)
  { "items" => items, "plural" => "package".pluralize, "column" => Sequel[:price].value }
end
