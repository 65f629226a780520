# frozen_string_literal: true

module Pipsqueak
  # Watch tells which environment variables imported code reads. zygote.so sees those that are asked for by their names; here is who looks at all of
  # them. It is loaded by processes that never become an instance's.
  module Watch
    ALL = "*"
    OWN = %w[RUBY_YJIT_ENABLE].freeze # Ruby itself asks for it, whatever is required

    module Everything
      %i[each each_pair each_key each_value keys values to_h to_hash to_a select filter reject invert key rassoc value? has_value? inspect clone].each do |name|
        define_method(name) do |*given, **named, &block|
          Watch.all
          super(*given, **named, &block)
        end
      end
    end

    # Returns the names that were read meanwhile.
    def self.during
      ENV.singleton_class.prepend(Everything)
      @all = false
      PipsqueakZygote.watch
      yield
    ensure
      names = PipsqueakZygote.watched.force_encoding(Encoding::UTF_8).scrub("?").lines(chomp: true)
      @reads = @all || names.include?(ALL) ? [ALL] : (names - OWN).sort
    end

    def self.all = @all = true
    def self.reads = @reads
  end
end
