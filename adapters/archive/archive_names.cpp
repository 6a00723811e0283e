#include "adapters/archive/archive_names.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace tessera {
namespace {

using enum FindingCode;

Finding about_entry(FindingCode code, std::string_view path, std::string message) {
  return {.code = code, .subject = printable_name(path), .message = std::move(message)};
}

bool is_control(char byte) {
  const auto code = static_cast<unsigned char>(byte);
  return code < 0x20 || code == 0x7F;
}

struct Place {
  std::string_view top = {};  // "" if the file lies at the top
  std::string_view name = {};
};

// "a/b" -> {a, b}; "b" -> {"", b}. Nothing if the path is not of that form.
std::optional<Place> place_of(std::string_view path, bool is_folder) {
  while (path.starts_with("./")) path.remove_prefix(2);
  if (is_folder && path.ends_with('/')) path.remove_suffix(1);
  if (is_folder && (path.empty() || path == ".")) return Place{};  // the top itself
  const auto is_plain = [](std::string_view component) {
    return !component.empty() && component != "." && component != "..";
  };
  const auto slash = path.find('/');
  if (slash == path.npos) {
    if (!is_plain(path)) return std::nullopt;
    return is_folder ? Place{.top = path} : Place{.name = path};
  }
  const Place place{.top = path.substr(0, slash), .name = path.substr(slash + 1)};
  const bool is_deep = is_folder || place.name.find('/') != place.name.npos;
  if (is_deep || !is_plain(place.top) || !is_plain(place.name)) return std::nullopt;
  return place;
}

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, name) != names.end();
}

bool is_pickle_name(std::string_view name) {
  constexpr std::array<std::string_view, 7> kEndings = {".bin", ".pt",     ".pth", ".pkl",
                                                        ".npy", ".pickle", ".ckpt"};
  return std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

bool is_code_name(std::string_view name) {
  return name.ends_with(".py") || name.ends_with(".so") || name.ends_with(".sh");
}

ArchiveFile file_called(std::string_view name) {
  constexpr std::array<std::string_view, 4> kTokenizer = {
      "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
  constexpr std::array<std::string_view, 4> kVocabulary = {"vocab.json", "merges.txt", "vocab.txt",
                                                           "tokenizer.model"};
  if (name == "adapter_config.json") return ArchiveFile::kConfig;
  if (name == "adapter_model.safetensors") return ArchiveFile::kTensors;
  if (name == "chat_template.jinja") return ArchiveFile::kChatTemplate;
  if (is_one_of(name, kTokenizer)) return ArchiveFile::kTokenizer;
  if (is_one_of(name, kVocabulary)) return ArchiveFile::kVocabulary;
  return ArchiveFile::kIgnored;
}

}  // namespace

std::string printable_name(std::string_view path) {
  constexpr std::size_t kMaxShown = 128;
  std::string shown(path.substr(0, kMaxShown));
  std::ranges::replace_if(shown, is_control, '?');
  return path.size() > kMaxShown ? shown + "..." : shown;
}

Checked<ArchiveNames::Entry> ArchiveNames::add(std::string_view path, bool is_folder) {
  constexpr std::size_t kMaxPath = 512;
  if (path.size() > kMaxPath || std::ranges::any_of(path, is_control) ||
      path.find('\\') != path.npos) {
    return about_entry(kArchiveBadEntry, path, "The entry's name is no name of a file.");
  }
  const auto place = place_of(path, is_folder);
  if (!place) {
    return about_entry(kArchiveBadEntry, path,
                       "The entry lies elsewhere than at the top or in one folder.");
  }
  const bool is_top = is_folder && place->top.empty();  // "./"
  if (!is_top && !top_) top_ = std::string(place->top);
  if (!is_top && *top_ != place->top) {
    return about_entry(kArchiveBadEntry, path,
                       "The entries lie in more than one folder; a package has one.");
  }
  if (is_folder) return Entry{ArchiveFile::kFolder, std::string(place->top)};
  std::string name(place->name);
  if (std::ranges::find(seen_, name) != seen_.end()) {
    return about_entry(kArchiveDuplicateEntry, path, "The archive has two files of this name.");
  }
  seen_.push_back(name);
  if (is_pickle_name(name)) {
    return about_entry(kPickleNotAccepted, path,
                       "The file is of a kind that can run code when it is read; leave it out, "
                       "and save the adapter as safetensors.");
  }
  if (is_code_name(name)) {
    return about_entry(kFileNotAccepted, path, "Code is not accepted in a package.");
  }
  return Entry{file_called(name), std::move(name)};
}

bool is_pickle_magic(std::string_view first_bytes) {
  using namespace std::string_view_literals;
  if (first_bytes.starts_with("PK\x03\x04"sv)) return true;  // torch.save since 1.6
  if (first_bytes.size() < 2 || first_bytes[0] != '\x80') return false;
  return first_bytes[1] >= 2 && first_bytes[1] <= 5;  // PROTO 2 to 5; torch's legacy form too
}

}  // namespace tessera
