// Renders CommonMark as HTML, and counts its headings and words.
#include <cmark.h>
#include <nlohmann/json.hpp>
#include <pipsqueak.hpp>

#include <memory>
#include <sstream>

using nlohmann::json;

static std::string html_of(cmark_node *document)
{
    std::unique_ptr<char, decltype(&std::free)> html(cmark_render_html(document, CMARK_OPT_DEFAULT), &std::free);
    return html.get();
}

static json outline_of(cmark_node *document, size_t &words)
{
    json outline = json::array();
    std::unique_ptr<cmark_iter, decltype(&cmark_iter_free)> nodes(cmark_iter_new(document), &cmark_iter_free);
    for (cmark_event_type event; (event = cmark_iter_next(nodes.get())) != CMARK_EVENT_DONE;) {
        cmark_node *node = cmark_iter_get_node(nodes.get());
        if (event != CMARK_EVENT_ENTER)
            continue;
        if (cmark_node_get_type(node) == CMARK_NODE_HEADING)
            outline.push_back({{"level", cmark_node_get_heading_level(node)}, {"line", cmark_node_get_start_line(node)}});
        if (cmark_node_get_type(node) == CMARK_NODE_TEXT) {
            std::istringstream text(cmark_node_get_literal(node));
            for (std::string word; text >> word;)
                words++;
        }
    }
    return outline;
}

static std::string render(std::string_view event, pipsqueak::context &)
{
    // What is no JSON, or has no markdown, throws here, and that is what the caller gets.
    const std::string markdown = json::parse(event).at("markdown");
    std::unique_ptr<cmark_node, decltype(&cmark_node_free)> document(
        cmark_parse_document(markdown.data(), markdown.size(), CMARK_OPT_DEFAULT), &cmark_node_free);
    size_t words = 0;
    json outline = outline_of(document.get(), words);
    return json{{"html", html_of(document.get())}, {"outline", outline}, {"words", words}}.dump();
}

PIPSQUEAK_HANDLER(handler, render)
