Thread.new { sleep }
