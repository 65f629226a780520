# Adds up the rows of a CSV by a column.
require "csv"

def handler(event:, context:)
  sums = Hash.new(0)
  CSV.parse(event["csv"], headers: true, converters: :numeric).each { |row| sums[row["city"]] += row["amount"] }
  sums
end
