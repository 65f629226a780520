# frozen_string_literal: true

# What is suspicious in Ruby code, found by reading it with Ripper.
#
# There are three questions to each file: is text decoded and then run, wherever it is; does requiring the file start programs or reach the
# network; does one method read secrets and reach the network. Methods run at require only when the file calls them by name.

require "ripper"
require_relative "text"

module Pipsqueak
  class Suspicions
    # Files without any of these words have nothing to find, and need not be parsed.
    WORTH = /eval|system|exec|spawn|fork|popen|`|%x|Open3|PTY|dlopen|Net::|Socket|URI|open-uri|HTTParty|RestClient|Faraday|ENV|InstructionSequence|syscall|Fiddle|attach_function|Marshal|\bload\b|["']\||;[ \t]{80,}\S/.freeze
    RUNNERS = /\A(\w+\.)?(eval|instance_eval|class_eval|module_eval)\z|\A(RubyVM::)?InstructionSequence\.(compile|new|load_from_binary)\z|\A(require|load)\z/.freeze
    DECODERS = /\A(Base64\.\w*decode64|Zlib\.(inflate|gunzip)|Zlib::Inflate\.inflate|Marshal\.load)\z/.freeze
    NETWORK = /\A(Net::HTTP\.(get\w*|post\w*|start|new)|TCPSocket\.(new|open)|UDPSocket\.new|Socket\.(new|tcp|udp)|URI\.open|HTTParty\.\w+|RestClient\.(get|post|put)|Faraday\.(get|post)|Resolv\.getaddress\w*)\z/.freeze
    PROCESS = /\A((Kernel\.|Process\.)?(system|exec|spawn|fork|syscall)|IO\.popen|Open3\.\w+|PTY\.spawn|Fiddle\.dlopen)\z/.freeze
    # What reads a file, and which files are code.
    READERS = /\A((File|IO|Pathname)\.(read|binread|open|readlines|new)|open)\z/.freeze
    CODE_FILE = /(\.(rb|gemspec|rake|ru|so|bundle|erb)|\A(Gemfile|Rakefile|VERSION))\z/.freeze
    # Functions of C that start programs, which FFI attaches.
    FOREIGN = /\A(system|popen|v?fork|exec[lv]\w*|posix_spawnp?|syscall)\z/.freeze
    # What runs the block that it is given.
    AT_ONCE = /(\A|\.)(loop|begin|each|each_with_index|times|map|tap|then|new|start|instance_eval|class_eval|module_eval|catch|synchronize|call|at_exit)\z/.freeze
    SECRETS = %r{(\.ssh\b|\.aws\b|\.gem/credentials|\.netrc\b|\.npmrc\b|\.docker/config|\.kube/config|\.bash_history|id_rsa|/etc/(passwd|shadow))}.freeze
    WHOLE = /\AENV\.(to_h|to_a|to_hash|each|each_pair|map|inspect|to_s|values|collect)\z/.freeze

    # Returns [rule, line, reason] of what is in a file. When is "when it is required", or installed.
    def self.of(text, whenever = "when it is required")
      text = text.dup.force_encoding(Encoding::UTF_8).scrub("?")
      unseen = Text.suspicions(text)
      return unseen unless text.match?(WORTH)
      tree = Ripper.sexp(text)
      return unseen unless tree # it cannot be required either
      unseen + new(text, tree, whenever).read
    rescue SystemStackError
      [["hidden-code", 0, "is nested too deep to be read"]]
    end

    def initialize(text, tree, whenever)
      @text, @tree, @whenever = text, tree, whenever
      @found, @methods, @singletons, @held, @called = {}, {}, {}, {}, {}
    end

    def read
      learn(@tree)
      look(@tree)
      at_import
      @text.scan(/;[ \t]{80,}[^\s#]/) { add("hidden-code", $~.pre_match.count("\n") + 1, "has code behind so many blanks that an editor does not show it") }
      @found.values.sort_by { |rule, line, _| [line, rule] }
    end

    private

    def add(rule, line, reason) = @found[[rule, line]] ||= [rule, line, reason]

    def node?(thing) = thing.is_a?(Array) && thing[0].is_a?(Symbol)

    # The nodes directly below a node: they may be in lists.
    def below(node, &block)
      node.each { |part| node?(part) ? block.call(part) : (below(part, &block) if part.is_a?(Array)) }
    end

    def line(node)
      return node[2][0] if node?(node) && node[0].start_with?("@") && node[2].is_a?(Array)
      node.each do |part|
        found = part.is_a?(Array) && line(part)
        return found if found
      end
      nil
    end

    # Notes methods, and names that hold text that is decoded.
    def learn(node, singleton = false)
      singleton ||= node[0] == :sclass
      if %i[def defs].include?(node[0])
        name = node[node[0] == :def ? 1 : 3][1]
        @methods[name] ||= node
        @singletons[name] ||= node if singleton || node[0] == :defs
      end
      if node[0] == :assign && node[1][0] == :var_field && node?(node[1][1]) && (how = how(node[2]))
        @held[node[1][1][1]] = how
      end
      below(node) { |child| learn(child, singleton) }
    end

    # Returns what an expression names: "Net::HTTP.get", "?" where that is not known.
    def name(node)
      return "?" unless node?(node)
      case node[0]
      when :@ident, :@const, :@kw then node[1]
      when :var_ref, :vcall, :fcall, :top_const_ref, :command then name(node[1])
      when :const_path_ref then "#{name(node[1])}::#{name(node[2])}"
      when :call, :command_call then "#{name(node[1])}.#{node[3] == :call ? "call" : name(node[3])}"
      when :method_add_arg, :method_add_block, :paren then name(node[1])
      else "?"
      end
    end

    # Returns the arguments of a call.
    def arguments(node)
      case node[0]
      when :method_add_arg then list(node[2])
      when :command then list(node[2])
      when :command_call then list(node[4])
      else []
      end
    end

    def list(node)
      node = node[1] if node?(node) && node[0] == :arg_paren
      node = node[1] if node?(node) && node[0] == :args_add_block
      return [] unless node.is_a?(Array)
      node?(node) ? [node] : node
    end

    def call?(node) = %i[method_add_arg command command_call call vcall fcall].include?(node[0])

    def literal(node)
      return unless node?(node)
      return node[1][1][1] if node[0] == :string_literal && node[1][1].is_a?(Array) && node[1][1][0] == :@tstring_content && node[1].size == 2
      node[1][1][1] if node[0] == :symbol_literal && node[1][0] == :symbol
    end

    # Returns how an expression gets its text when that hides it, nil when it does not.
    def how(node, depth = 0)
      return if depth > 15 || !node?(node)
      case node[0]
      when :var_ref, :vcall then @held[name(node)]
      when :paren, :string_literal, :string_content, :string_embexpr, :begin, :bodystmt, :aref then first_how(node, depth)
      when :binary then how(node[1], depth + 1) || how(node[3], depth + 1)
      when :method_add_block then how(node[1], depth + 1)
      when :method_add_arg, :command, :command_call, :call then how_called(node, depth)
      end
    end

    def first_how(node, depth)
      below(node) { |child| (found = how(child, depth + 1)) && (return found) }
      nil
    end

    def how_called(node, depth)
      called, given = name(node), arguments(node).map { |argument| literal(argument) }
      return "decoded by #{called}" if called.match?(DECODERS)
      return "read from a file that is no code" if called.match?(READERS) && data_file?(node)
      return "fetched by #{called}" if called.match?(NETWORK) || (called == "open" && given[0].to_s.match?(%r{\Ahttps?://}))
      return "decoded by unpack(#{given[0].inspect})" if called.match?(/\.unpack1?\z/) && given[0].to_s.match?(/\A[mMuhH]/)
      return "put together from character codes" if called.end_with?(".pack") && given[0].to_s.match?(/\A([cCU]\*|[mH])/)
      return "written backwards" if called.end_with?(".reverse") && literal(receiver(node))
      return "shifted letters (rot13)" if called.end_with?(".tr") && given[0].to_s.match?(/a-z/i) && given[1].to_s.match?(/n-z/i)
      (over = receiver(node)) && how(over, depth + 1)
    end

    # Whether a call reads a file of the gem's own, or one of a constant name, that has no name of a file of code.
    def data_file?(node)
      inside = arguments(node).flat_map { |argument| all(argument) }
      texts = inside.select { |part| part[0] == :@tstring_content }.map { |part| part[1] }
      return false if texts.empty? || texts.any? { |text| text.match?(CODE_FILE) } || texts[0].match?(/\A(\||https?:)/)
      texts.any? { |text| File.basename(text).include?(".") } || inside.any? { |part| %w[__FILE__ __dir__].include?(part[1]) }
    end

    def receiver(node)
      node = node[1] while node[0] == :method_add_arg
      node[1] if %i[call command_call].include?(node[0])
    end

    # Looks at every node, wherever it is.
    def look(node)
      hidden(node) if call?(node)
      secrets(all(node)) if %i[def defs].include?(node[0])
      below(node) { |child| look(child) }
    end

    def hidden(node)
      called, given = name(node), arguments(node)
      called, given = literal(given[0]).to_s, given.drop(1) if called.match?(/(\A|\.)(send|__send__|public_send)\z/)
      return made_of(node, given[0]) if called == "Marshal.load" && given[0]
      if called.match?(/\A(Kernel\.)?load\z/) && given[0] && !how(given[0]) && (path = literal(given[0])) && File.extname(path) != "" && !path.match?(CODE_FILE)
        return add("hidden-code", line(node), "loads code from a file that is none")
      end
      return unless called.match?(RUNNERS) && given[0] && (how = how(given[0]))
      add("hidden-code", line(node), called.match?(/\A(require|load)\z/) ? "requires a file whose name is #{how}" : "#{called.delete_prefix("?.")} runs text that is #{how}")
    end

    # Objects that are made of a file of the gem's, or of a literal.
    def made_of(node, given)
      how = how(given) || (literal(given) && "a literal")
      add("hidden-code", line(node), "Marshal.load makes objects of what is #{how}, and runs what that says") if how && (how == "a literal" || how.start_with?("read from", "fetched"))
    end

    def all(node, found = [])
      found << node
      below(node) { |child| all(child, found) }
      found
    end

    def at_import
      nodes = []
      running(@tree, nil, nodes)
      nodes.each do |node, caller|
        called = node[0] == :xstring_literal ? "`" : (call?(node) ? name(node) : next)
        called = literal(arguments(node)[0]).to_s if called.match?(/(\A|\.)(send|__send__|public_send)\z/)
        called = called.delete_prefix("::")
        piped = called.match?(/\A((Kernel|IO|File|URI)\.)?(open|read)\z/) && literal(arguments(node)[0]).to_s.start_with?("|")
        attached = called.match?(/(\A|\.)attach_function\z|\AFiddle::Function\.new\z/) && arguments(node).any? { |one| all(one).any? { |part| part[1].to_s.match?(FOREIGN) } }
        where = caller ? "#{called}, in a method that line #{caller} calls" : called
        if called == "`" || called.match?(PROCESS) || piped || attached
          add("process", line(node), "#{caller ? "may start" : "starts"} a program #{@whenever} (#{where})") unless call?(node) && called.match?(/\A(exec|fork|spawn|system)\z/) && @methods[called]
        elsif called.match?(NETWORK)
          add("network", line(node), "#{caller ? "may reach" : "reaches"} for the network #{@whenever} (#{where})")
        end
      end
      secrets(nodes.map(&:first))
      passed_on
    end

    # Secrets that one method reads and another, which calls it or has the same variable, sends.
    def passed_on
      reading = @methods.select { |_, method| secret(all(method)) }.keys
      kept = all(@tree).select { |node| node[0] == :assign && %i[@ivar @gvar @const @cvar].include?(node[1][1]&.first) && (secret(all(node[2])) || calls(node[2]).any? { |call| reading.include?(call) }) }
      kept = kept.map { |node| node[1][1][1] }
      @methods.each_value do |method|
        nodes = all(method)
        next unless nodes.any? { |node| call?(node) && name(node).match?(NETWORK) } && !secret(nodes)
        used = calls(method).find { |call| reading.include?(call) } || nodes.find { |node| %i[@ivar @gvar @const @cvar].include?(node[0]) && kept.include?(node[1]) }&.at(1)
        add("secrets", line(method), "reaches for the network with what #{used} has, which is secret") if used
      end
    end

    def calls(node) = all(node).select { |part| call?(part) }.map { |part| name(part)[/\w+[?!]?\z/] }

    # Collects the nodes of what runs when the file is required, with the line of the call that leads to them.
    def running(node, caller, found)
      return if %i[def defs lambda].include?(node[0]) || main?(node)
      found << [node, caller]
      if node[0] == :method_add_block && !runs_block?(node[1])
        running(node[1], caller, found)
        return
      end
      follow(node, caller, found)
      below(node) { |child| running(child, caller, found) }
    end

    def runs_block?(call) = name(call).match?(AT_ONCE) || @methods.key?(name(call))

    # A method that is called by its name, or as one of the file's modules or classes.
    def follow(node, caller, found)
      hooks(node).each { |hook| into(hook, line(node), caller, found) }
      method = case node[0]
               when :vcall, :fcall, :command then @methods[name(node)]
               when :call, :command_call then of_object(name(node))
               end
      into(method, line(node), caller, found)
    end

    def of_object(called)
      return @methods["initialize"] if called.match?(/\A[A-Z][\w:]*\.new\z/)
      @singletons[called[/\A(?:self|[A-Z][\w:]*)\.(\w+[?!]?)\z/, 1]] || @methods[called[/\A[A-Z][\w:]*\.new\.(\w+[?!]?)\z/, 1]]
    end

    def into(method, line, caller, found)
      return if method.nil? || @called[method]
      @called[method] = true
      below(method) { |child| running(child, caller || line, found) }
    end

    # What Ruby calls when a class inherits, or has a module put into it, or gets a method.
    def hooks(node)
      case node[0]
      when :class then [*(@singletons["inherited"] if node[2]), *@singletons["method_added"]]
      when :command
        { "include" => "included", "extend" => "extended", "prepend" => "prepended" }.values_at(name(node)).compact.map { |hook| @singletons[hook] }.compact
      when :method_add_arg, :call
        name(node).match?(/\AClass\.new\z/) && arguments(node).any? ? [@singletons["inherited"]].compact : []
      else []
      end.select { |hook| node?(hook) }
    end

    # if __FILE__ == $0
    def main?(node)
      %i[if if_mod].include?(node[0]) && node?(node[1]) && node[1][0] == :binary && name(node[1][1]) == "__FILE__"
    end

    def secrets(nodes)
      return unless nodes.any? { |node| call?(node) && name(node).match?(NETWORK) }
      what, node = secret(nodes)
      add("secrets", line(node), "reads #{what} and reaches for the network in one go") if what
    end

    # Returns the first secret that is read, and where.
    def secret(nodes)
      nodes.each do |node|
        what = if call?(node) && name(node).match?(WHOLE) || %i[method_add_arg command command_call].include?(node[0]) && arguments(node).any? { |one| name(one) == "ENV" }
                 "the whole environment"
               elsif node[0] == :@tstring_content && node[1].size < 200 && node[1].match?(SECRETS)
                 node[1].inspect
               end
        return [what, node] if what
      end
      nil
    end
  end
end
