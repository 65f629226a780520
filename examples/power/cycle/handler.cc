// Takes {"values": [numbers], "shuffles": n}: finds the lag at which the values are most like themselves, and how often shuffled
// values are as much so. It is the heavy part: every shuffle is correlated with itself at every lag.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <pipsqueak.hpp>
#include <random>
#include <vector>

using json = nlohmann::json;

struct Peak {
    size_t lag = 0;
    double strength = 0; // the correlation at that lag, at most 1
};

// Looks at the lags from 2 to half of the values; their mean has to be 0.
static Peak autocorrelation(const std::vector<double> &values)
{
    const double power = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
    Peak peak;
    for (size_t lag = 2; lag <= values.size() / 2 && power > 0; lag++) {
        const double strength = std::inner_product(values.begin() + lag, values.end(), values.begin(), 0.0) / power;
        if (strength > peak.strength)
            peak = {lag, strength};
    }
    return peak;
}

static std::string cycle(std::string_view event, pipsqueak::context &)
{
    const json request = json::parse(event);
    auto values = request.at("values").get<std::vector<double>>();
    const int shuffles = request.value("shuffles", 1000);
    if (values.size() < 4 || shuffles < 1)
        throw std::invalid_argument("a cycle takes at least four values and one shuffle");
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
    for (double &value : values)
        value -= mean;
    const Peak peak = autocorrelation(values);
    std::mt19937_64 random(1); // the same answer for the same values
    int alike = 0;
    for (int i = 0; i < shuffles; i++) {
        std::shuffle(values.begin(), values.end(), random);
        alike += autocorrelation(values).strength >= peak.strength;
    }
    return json{{"lag", peak.lag}, {"strength", std::round(peak.strength * 1000) / 1000}, {"chance", double(alike) / shuffles}}.dump();
}

PIPSQUEAK_HANDLER(handler, cycle)
