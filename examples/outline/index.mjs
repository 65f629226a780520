// The headings and the links of a text in Markdown.
import { marked } from 'marked';

export const handler = async ({ text }) => {
  const headings = [], links = [];
  marked.walkTokens(marked.lexer(text), (token) => {
    if (token.type === 'heading') headings.push(`${'  '.repeat(token.depth - 1)}${token.text}`);
    if (token.type === 'link') links.push({ text: token.text, to: token.href });
  });
  return { headings, links };
};
