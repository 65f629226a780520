# frozen_string_literal: true

# A receipt of what somebody has bought, as text and as numbers, in exact decimals.

require "bigdecimal"
require "bigdecimal/util"
require "erb"

TEMPLATE = ERB.new(File.read("#{__dir__}/receipt.erb"), trim_mode: "-")

Line = Struct.new(:item, :count, :price, keyword_init: true) do
  def total = count * price
end

def money(amount) = format("%.2f", amount.round(2, half: :even))

def handler(event:, context:)
  lines = event.fetch("lines").map { |line| Line.new(item: line.fetch("item"), count: line.fetch("count"), price: line.fetch("price").to_d) }
  net = lines.sum(&:total)
  tax = net * event.fetch("tax_percent", "0").to_d / 100
  customer = event.fetch("customer")
  {
    "function" => context.function_name,
    "net" => money(net),
    "tax" => money(tax),
    "total" => money(net + tax),
    "text" => TEMPLATE.result(binding)
  }
end
