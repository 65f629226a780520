// A handler of heavy libraries: it draws, blurs and encodes a small picture, and returns its size as a PNG.
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <pipsqueak.hpp>

static std::string draw(std::string_view, pipsqueak::context &)
{
    cv::Mat picture(32, 32, CV_8UC3, cv::Scalar(0, 0, 0));
    cv::circle(picture, {16, 16}, 8, {255, 128, 0}, cv::FILLED);
    cv::GaussianBlur(picture, picture, {5, 5}, 0);
    std::vector<uchar> png;
    cv::imencode(".png", picture, png);
    return "{\"bytes\":" + std::to_string(png.size()) + "}";
}

PIPSQUEAK_HANDLER(handler, draw)
