require "openssl"
require "securerandom"
require "tempfile"

module KitDraw
  DRAWN = {}

  def self.draw
    {
      rand: rand.to_s, random: Random.new.bytes(8).unpack1("H*"), shuffle: [*1..30].shuffle.join(" "), secure: SecureRandom.hex,
      uuid: SecureRandom.uuid, openssl: OpenSSL::Random.random_bytes(16).unpack1("H*"), tempfile: Tempfile.open { |file| File.basename(file.path).tap { file.unlink } }
    }
  end
end
