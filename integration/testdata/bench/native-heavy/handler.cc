// A handler of heavy libraries: it draws, shrinks and measures a small picture. Given an encoding, such as {"encode":".png"}, it
// encodes the picture too; the first time OpenCV makes all of its encoders for that, which takes longer than all the rest.
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <pipsqueak.hpp>

static std::string draw(std::string_view event, pipsqueak::context &)
{
    cv::Mat picture(64, 64, CV_8UC1, cv::Scalar(0)), small;
    cv::circle(picture, {32, 32}, 16, 255, cv::FILLED);
    cv::resize(picture, small, {32, 32}, 0, 0, cv::INTER_AREA);
    cv::threshold(small, small, 127, 255, cv::THRESH_BINARY);
    std::vector<uchar> encoded;
    for (const char *format : {".png", ".jpg"})
        if (event.find(std::string("\"") + format) != event.npos)
            cv::imencode(format, small, encoded);
    return "{\"area\":" + std::to_string(cv::countNonZero(small)) + ",\"bytes\":" + std::to_string(encoded.size()) + "}";
}

PIPSQUEAK_HANDLER(handler, draw)
