Thread.new { sleep 3600 }
