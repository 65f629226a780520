begin
  raise "the kit has a reason"
rescue RuntimeError
  raise "kit says no"
end
