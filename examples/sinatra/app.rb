require 'json'
require 'sinatra/base'

class App < Sinatra::Base
  get '/' do
    "<form action='#{url('/convert', false)}'>miles: <input name=miles value=26.2> <button>to km</button></form>"
  end

  get '/convert' do
    content_type :json
    { km: (Float(params['miles']) * 1.609344).round(2) }.to_json
  end
end
