# frozen_string_literal: true

require "ripper"

module Pipsqueak
  # What of a text is not what it looks like: characters that are not seen, that turn the order of others around, or that look like letters of
  # another script.
  module Text
    TURNING = /[\u202a-\u202e\u2066-\u2069]/.freeze
    # Many of them together carry a text that nobody sees. One alone joins emoji, or says how one looks.
    UNSEEN = /[\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\u180b-\u180d\u{e0000}-\u{e01ef}\u3164\uffa0\u115f\u1160]{8,}/.freeze
    # Letters of other scripts that look like Latin ones.
    ALIKE = "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408" \
            "\u03bf\u039f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u03a1\u03a4\u03a5\u03a7\u03bd\u0578\u057d\u0585\u0261\u0269"
    LOOKS_LATIN = /\A(?=.*[#{ALIKE}])(?=..)[\x00-\x7f#{ALIKE}]+\z/.freeze
    NAMES = %i[on_ident on_const on_ivar on_gvar on_cvar on_label].freeze

    def self.suspicions(text)
      return [] if text.ascii_only?
      found = []
      text.scan(TURNING) { found << at($~, "has characters that turn the order of others around: an editor shows other code than runs") }
      text.scan(UNSEEN) { found << at($~, "has #{$~[0].size} characters in a row that nobody sees") }
      if text.match?(/[#{ALIKE}]/)
        Ripper.lex(text).each do |(line, _), kind, token, *|
          found << ["hidden-code", line, "has a name with letters of another script that look like Latin ones: #{token.dump}"] if NAMES.include?(kind) && token.match?(LOOKS_LATIN)
        end
      end
      found.uniq { |rule, line, _| [rule, line] }
    end

    def self.at(match, reason) = ["hidden-code", match.pre_match.count("\n") + 1, reason]
  end
end
