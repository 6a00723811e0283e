#include "gateway/cli/text_table.hpp"

#include <algorithm>
#include <cstddef>

namespace tessera {
namespace {

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

std::string shown(const std::string& cell) {
  std::string text = cell;
  std::ranges::replace_if(text, is_control, '?');
  return text;
}

// Characters that the terminal shows, taking each code point for one.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.,+-%") == text.npos;
}

std::string padded(const std::string& text, std::size_t to, bool to_the_right) {
  const std::string space(to - width(text), ' ');
  return to_the_right ? space + text : text + space;
}

struct Column {
  std::size_t width = 0;
  bool has_numbers = false;
};

}  // namespace

std::string text_table(const std::vector<std::string>& header,
                       const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines = {header};
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<Column> columns(header.size());
  for (auto& line : lines) {
    line.resize(header.size());
    for (std::size_t i = 0; i < line.size(); ++i) {
      line[i] = shown(line[i]);
      columns[i].width = std::max(columns[i].width, width(line[i]));
      columns[i].has_numbers |= is_number(line[i]);
    }
  }
  std::string text;
  for (const auto& line : lines) {
    std::string out;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const bool right = columns[i].has_numbers && (&line == lines.data() || is_number(line[i]));
      out += (i == 0 ? "" : "  ") + padded(line[i], columns[i].width, right);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + "\n";
  }
  return text;
}

}  // namespace tessera
