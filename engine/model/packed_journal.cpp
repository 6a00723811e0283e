#include "engine/model/packed_journal.hpp"

#include <cerrno>
#include <exception>
#include <sstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "storage/durable_file.hpp"
#include "storage/json.hpp"

namespace tessera::packed {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kJournalBytesMax = std::size_t{512} << 20;

Json entry_json(const JournalEntry& entry) {
  Json sections = Json::array();
  for (const PlacedSection& section : entry.sections) sections.push_back(section_to_json(section));
  return {{"part", entry.part},
          {"format", format_to_json(entry.format)},
          {"sections", std::move(sections)}};
}

JournalEntry read_entry(const Json& node) {
  JournalEntry entry{.part = node.at("part").get<std::string>(),
                     .format = format_from_json(node.at("format")),
                     .sections = {}};
  for (const Json& section : node.at("sections")) {
    entry.sections.push_back(section_from_json(section));
  }
  return entry;
}

}  // namespace

Journal::~Journal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::vector<JournalEntry> Journal::read(const std::string& key) const {
  const auto text = read_file(path_, kJournalBytesMax);
  if (!text) return {};
  std::istringstream lines(*text);
  std::vector<JournalEntry> entries;
  bool first = true;
  try {
    for (std::string line; std::getline(lines, line);) {
      const auto node = parse_json(line);
      if (!node) break;
      if (!std::exchange(first, false)) {
        entries.push_back(read_entry(*node));
      } else if (node->at("key").get<std::string>() != key) {
        break;
      }
    }
  } catch (const std::exception&) {  // a line that is JSON and no entry: as good as the end
  }
  return entries;
}

Result<void> Journal::start(const std::string& key, const std::vector<JournalEntry>& entries) {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  auto written = write_line(to_text({{"key", key}}));
  for (const JournalEntry& entry : entries) {
    if (written) written = append(entry);
  }
  return written;
}

Result<void> Journal::append(const JournalEntry& entry) {
  return write_line(to_text(entry_json(entry)));
}

Result<void> Journal::write_line(const std::string& line) {
  const std::string text = line + '\n';
  const ssize_t written = descriptor_ < 0 ? -1 : ::write(descriptor_, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size())) return {};
  const int number = written < 0 ? errno : ENOSPC;
  const bool full = number == ENOSPC || number == EDQUOT;
  return Error{full ? Code::kStorageFull : Code::kIo,
               "cannot write " + path_.string() + ": " + std::generic_category().message(number)};
}

void Journal::remove() {
  ::unlink(path_.c_str());
}

}  // namespace tessera::packed
