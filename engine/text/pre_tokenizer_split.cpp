// pre_tokenizer_split.cpp — how a PreTokenizer's steps cut a text.
#include <algorithm>
#include <utility>

#include "engine/text/byte_alphabet.hpp"
#include "engine/text/pre_tokenizer.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

void find_literal(std::string_view text, std::string_view literal,
                  std::vector<Regex::Match>& matches) {
  std::size_t at = 0;
  while ((at = text.find(literal, at)) != text.npos) {
    matches.push_back({at, at + literal.size()});
    at += literal.size();
  }
}

void find_members(std::string_view text, const CodePointSet& set,
                  std::vector<Regex::Match>& matches) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    if (set.contains(step.code_point)) matches.push_back({at, at + step.bytes});
    at += step.bytes;
  }
}

// Matches in the alphabet's writing of some bytes, as matches in the bytes.
void from_alphabet_positions(std::string_view alphabet, std::vector<Regex::Match>& matches) {
  std::size_t at = 0;
  std::size_t byte = 0;
  const auto byte_of = [&](std::size_t position) {
    for (; at < position; ++byte) at += utf8_step(alphabet.substr(at)).bytes;
    return byte;
  };
  for (Regex::Match& match : matches) {
    const std::size_t begin = byte_of(match.begin);
    match = {begin, byte_of(match.end)};
  }
}

}  // namespace

// Matches and what lies between them, in order, covering the text.
std::vector<PreTokenizer::Span> PreTokenizer::Split::spans(std::string_view text) const {
  std::string alphabet;
  if (on_alphabet) alphabet = alphabet_from_bytes(text);
  const std::string_view searched = on_alphabet ? std::string_view(alphabet) : text;
  std::vector<Regex::Match> matches;
  if (const auto* regex = std::get_if<std::shared_ptr<const Regex>>(&pattern)) {
    (*regex)->find_all(searched, matches);
  } else if (const auto* literal = std::get_if<std::string>(&pattern)) {
    find_literal(searched, *literal, matches);
  } else {
    find_members(searched, *std::get<std::shared_ptr<const CodePointSet>>(pattern), matches);
  }
  if (on_alphabet) from_alphabet_positions(alphabet, matches);

  std::vector<Span> out;
  out.reserve(2 * matches.size() + 1);
  std::size_t at = 0;
  for (const Regex::Match& match : matches) {
    if (match.begin != at) out.push_back({at, match.begin, invert});
    out.push_back({match.begin, match.end, !invert});
    at = match.end;
  }
  if (at != text.size()) out.push_back({at, text.size(), invert});
  return out;
}

namespace {

// Runs of matches, and of what is none, become one.
template <class Span>
std::vector<Span> contiguous(const std::vector<Span>& in) {
  std::vector<Span> out;
  for (const Span& span : in) {
    if (!out.empty() && out.back().is_match == span.is_match) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
  }
  return out;
}

// A match joins the piece before it, unless that is a match too.
template <class Span>
std::vector<Span> merged_with_previous(const std::vector<Span>& in) {
  std::vector<Span> out;
  bool after_match = false;
  for (const Span& span : in) {
    if (span.is_match && !after_match && !out.empty()) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
    after_match = span.is_match;
  }
  return out;
}

// The mirror image.
template <class Span>
std::vector<Span> merged_with_next(const std::vector<Span>& in) {
  std::vector<Span> out;
  bool before_match = false;
  for (auto span = in.rbegin(); span != in.rend(); ++span) {
    if (span->is_match && !before_match && !out.empty()) {
      out.back().begin = span->begin;
    } else {
      out.push_back(*span);
    }
    before_match = span->is_match;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::string with_replacement(std::string_view text, std::string_view replacement, bool prefix) {
  std::string out;
  out.reserve(text.size() + text.size() / 4 + replacement.size());
  const bool begins = text.starts_with(' ') || text.starts_with(replacement);
  if (prefix && !begins) out += replacement;
  for (const char c : text) {
    if (c == ' ') {
      out += replacement;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace

void PreTokenizer::Split::apply(std::string_view text, std::vector<std::string_view>& words) const {
  std::vector<Span> cut = spans(text);
  if (behavior == Behavior::kContiguous) cut = contiguous(cut);
  if (behavior == Behavior::kMergedWithPrevious) cut = merged_with_previous(cut);
  if (behavior == Behavior::kMergedWithNext) cut = merged_with_next(cut);
  if (words.empty()) words.reserve(cut.size());
  for (const Span& span : cut) {
    if (span.begin == span.end || (behavior == Behavior::kRemoved && span.is_match)) continue;
    words.push_back(text.substr(span.begin, span.end - span.begin));
  }
}

void PreTokenizer::split(std::string_view text, bool at_start, std::deque<std::string>& rewritten,
                         std::vector<std::string_view>& words) const {
  words.clear();
  if (text.empty()) return;
  words.push_back(text);
  std::vector<std::string_view> finer;
  for (const Step& step : steps_) {
    finer.clear();
    for (const std::string_view word : words) {
      if (const Split* split = std::get_if<Split>(&step)) {
        split->apply(word, finer);
      } else if (const Metaspace* metaspace = std::get_if<Metaspace>(&step)) {
        const bool first = at_start && word.data() == text.data();
        const bool prefix = metaspace->prefix == Metaspace::Prefix::kAlways ||
                            (metaspace->prefix == Metaspace::Prefix::kFirst && first);
        finer.push_back(
            rewritten.emplace_back(with_replacement(word, metaspace->replacement, prefix)));
      } else if (word.starts_with(' ')) {
        finer.push_back(word);
      } else {
        finer.push_back(rewritten.emplace_back(' ' + std::string(word)));
      }
    }
    std::swap(words, finer);
  }
}

}  // namespace tessera
