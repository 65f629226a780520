# Run it with: ruby tests/test_handler.rb
require "minitest/autorun"
require_relative "../handler"

class HandlerTest < Minitest::Test
  def test_hello
    assert_equal({ hello: "world" }, handler(event: { "name" => "world" }, context: nil))
  end
end
