#include "gateway/http/staged_body.hpp"

#include <algorithm>
#include <utility>

#include "gateway/config.hpp"
#include "gateway/http/multipart.hpp"

namespace tessera {
namespace {

// "adapter_config, adapter_model, alias"
std::string names_of(std::span<const PartRule> rules) {
  std::string names;
  for (const PartRule& rule : rules) names.append(names.empty() ? "" : ", ").append(rule.name);
  return names;
}

Error too_long(const PartRule& rule) {
  return {Code::kRequestExceedsLimit,
          "The part is longer than " + std::to_string(rule.max_bytes) + " bytes.",
          std::string(rule.name)};
}

class FormStage final : public BodyStage, private PartVisitor {
 public:
  FormStage(MultipartReader reader, std::span<const PartRule> rules, StagingFolder& folder,
            std::string owner)
      : reader_(std::move(reader)), rules_(rules), folder_(folder), owner_(std::move(owner)) {}

  Result<void> write(std::string_view bytes) override { return reader_.feed(bytes, *this); }

  Result<StagedBody> finish() override {
    if (auto finished = reader_.finish(); !finished) return finished.error();
    return std::move(body_);
  }

 private:
  Result<void> begin_part(PartHead head) override {
    const auto rule = std::ranges::find(rules_, head.name, &PartRule::name);
    if (rule == rules_.end()) {
      return Error{Code::kUnknownParameter, "Unknown part; there may be: " + names_of(rules_) + ".",
                   head.name.substr(0, kMaxToldPartNameChars)};
    }
    rule_ = &*rule;
    body_.parts.push_back({.name = std::move(head.name),
                           .filename = std::move(head.filename),
                           .content_type = std::move(head.content_type)});
    if (rule->kind == PartRule::Kind::kField) return {};
    auto writer = folder_.create(rule->max_bytes, owner_);
    if (!writer) return writer.error();
    writer_ = *std::move(writer);
    return {};
  }

  Result<void> part_content(std::string_view bytes) override {
    if (writer_) {
      auto written = writer_->append(bytes);
      if (!written && written.error().code == Code::kPayloadTooLarge) return too_long(*rule_);
      return written;
    }
    std::string& text = body_.parts.back().text;
    if (bytes.size() > rule_->max_bytes - text.size()) return too_long(*rule_);
    text.append(bytes);
    return {};
  }

  Result<void> end_part() override {
    if (!writer_) return {};
    auto file = writer_->finish();
    writer_.reset();
    if (!file) return file.error();
    body_.parts.back().file = *std::move(file);
    return {};
  }

  MultipartReader reader_;
  const std::span<const PartRule> rules_;
  StagingFolder& folder_;
  const std::string owner_;
  const PartRule* rule_ = nullptr;        // of the part that is being read
  std::unique_ptr<StagedWriter> writer_;  // null: it is a field
  StagedBody body_;
};

class FileStage final : public BodyStage {
 public:
  FileStage(std::uint64_t max_bytes, StagingFolder& folder, std::string owner)
      : max_bytes_(max_bytes), folder_(folder), owner_(std::move(owner)) {}

  Result<void> write(std::string_view bytes) override {
    if (auto opened = open(); !opened) return opened;
    return writer_->append(bytes);
  }

  Result<StagedBody> finish() override {
    if (auto opened = open(); !opened) return opened.error();
    auto file = writer_->finish();
    if (!file) return file.error();
    return StagedBody{.file = *std::move(file)};
  }

 private:
  // With the first bytes, for that is when somebody is there to wait for the disk.
  Result<void> open() {
    if (writer_) return {};
    auto writer = folder_.create(max_bytes_, owner_);
    if (!writer) return writer.error();
    writer_ = *std::move(writer);
    return {};
  }

  const std::uint64_t max_bytes_;
  StagingFolder& folder_;
  const std::string owner_;
  std::unique_ptr<StagedWriter> writer_;
};

}  // namespace

const StagedPart* StagedBody::part(std::string_view name) const {
  const auto found = std::ranges::find(parts, name, &StagedPart::name);
  return found == parts.end() ? nullptr : &*found;
}

Result<std::unique_ptr<BodyStage>> stage_form(std::string_view content_type,
                                              std::span<const PartRule> rules,
                                              StagingFolder& folder, std::string owner) {
  auto reader = MultipartReader::make(content_type);
  if (!reader) return reader.error();
  return std::unique_ptr<BodyStage>(
      std::make_unique<FormStage>(*std::move(reader), rules, folder, std::move(owner)));
}

std::unique_ptr<BodyStage> stage_file(std::uint64_t max_bytes, StagingFolder& folder,
                                      std::string owner) {
  return std::make_unique<FileStage>(max_bytes, folder, std::move(owner));
}

}  // namespace tessera
