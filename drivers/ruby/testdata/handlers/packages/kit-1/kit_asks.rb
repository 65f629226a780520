# frozen_string_literal: true

begin
  require "kit_is_not_there"
rescue LoadError
  nil
end

File.exist?("kit_no_file")
ENV.fetch("KIT_NO_VARIABLE", nil)
