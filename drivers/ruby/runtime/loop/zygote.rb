# frozen_string_literal: true

# The loop of a Ruby process of Pipsqueak: a zygote that imports and forks, and the instances that its children are.
#
# Started as `ruby --disable=gems zygote.rb DIRECTORY…`, the directories being those of the standard library, with zygote.so preloaded and a control socket (SOCK_SEQPACKET) as descriptor 3. The
# driver asks over it, one JSON packet a message. An instance hears nothing of it. What is required here is in every
# function's process: as little as possible.

ENV.delete("LD_PRELOAD") # it is for this process alone
$LOAD_PATH.replace(ARGV)
ARGV.clear
require_relative "zygote.so"
require_relative "load"
require_relative "compiled"
require_relative "fresh"
require_relative "instance"

autoload :Gem, "#{__dir__}/gem.rb"

module Kernel
  # Of RubyGems, which is loaded for gems that are not the function's: those of Ruby's own, and missing ones.
  private def gem(name, *requirements)
    return true if Pipsqueak::Zygote.loader.gem?(name, requirements)
    require "rubygems" # puts its own in the place of this
    gem(name, *requirements)
  end
end

module Pipsqueak
  module Zygote
    # What ps_zygote returns besides the length of a request.
    LOST = 0
    ZYGOTE = -1
    INSTANCE = -2
    MAX_PACKET = 128 << 10
    # Objects are old, and left alone by most collections, when they have survived this many.
    COLLECTIONS = 4

    class << self
      # Forks and imports as the driver asks. Returns only in a child that is an instance.
      def run
        $stdout.sync = true
        Compiled.begin
        @loader = Loader.new
        prepare_to_fork
        reply = '{"parked":true}'
        loop do
          PipsqueakZygote.arm(reply)
          reply = ""
          Process.fork
          case PipsqueakZygote.forked
          when INSTANCE then return after_fork
          when ZYGOTE then after_fork
          when LOST then sleep # what was forked from here lives on, and would die with this process; core ends it
          else reply = Pipsqueak.packed(answer_to(JSON.parse(PipsqueakZygote.request)), MAX_PACKET)
          end
        end
      end

      attr_reader :loader

      private

      def answer_to(request)
        raise Failure.new("internal", "driver", "unknown request #{request["op"].inspect}") unless request["op"] == "import"
        report = request["watch"] ? watched(request) : @loader.load(request)
        report["drawn"] = Fresh.draw(request["draw"]) if request["draw"]
        prepare_to_fork
        report
      rescue Failure => e
        { "error" => e.reply }
      end

      def watched(request)
        require_relative "watch"
        require_relative "asked"
        Compiled.end
        report = Watch.during { Asked.during { @loader.load(request) } }
        report.merge("reads" => Watch.reads, "asks" => Asked.names)
      end

      # Makes a process a zygote. What lives now becomes old, so that collections in a child pass it over, and stands close
      # together: what a child writes to is copied, page by page.
      def prepare_to_fork
        Rehearsal.new(@loader).run
        @fresh = Fresh.new
        @files = ObjectSpace.each_object(IO).reject { |io| io.closed? || io.fileno <= 2 }
        if Process.respond_to?(:warmup)
          Process.warmup
        else
          COLLECTIONS.times { GC.start }
        end
        PipsqueakZygote.settle
      end

      # Makes a child forget what it must not share with its siblings.
      def after_fork
        @fresh.seed
        # Their descriptors are closed already. A file that does not know would close another one's later.
        @files.each do |io|
          io.close
        rescue SystemCallError, IOError
          nil
        end
        @files = []
      end
    end
  end
end

Pipsqueak::Zygote.run
Pipsqueak::Instance.new(Pipsqueak::Zygote.loader).run
