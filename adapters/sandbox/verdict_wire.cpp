// The verdict's half of validation_wire.hpp: written by the child, read as a stranger's text.
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/sandbox/validation_wire.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxTextBytes = 4096;  // of any one text
constexpr std::size_t kMaxRenamed = 65'536;

Json to_wire(const Finding& finding) {
  return {std::string(to_string(finding.code)),      finding.severity == Severity::kError,
          static_cast<int>(finding.about),           finding.subject.substr(0, kMaxTextBytes),
          finding.expected.substr(0, kMaxTextBytes), finding.actual.substr(0, kMaxTextBytes),
          finding.message.substr(0, kMaxTextBytes)};
}

// Keeps the wire short whatever the report holds; names beyond that are a convenience lost.
constexpr std::size_t kMaxRenamedSent = 1024;

Json to_wire(const Report& report) {
  Json json;
  json["findings"] = Json::array();
  for (const Finding& finding : report.findings) json["findings"].push_back(to_wire(finding));
  json["left_out"] = report.findings_left_out;
  json["tensors_total"] = report.coverage.tensors_total;
  json["tensors_bound"] = report.coverage.tensors_bound;
  json["modules_bound"] = report.coverage.modules_bound;
  json["rows_replaced"] = report.coverage.rows_replaced;
  json["targets"] = report.coverage.modules_by_target;
  json["renamed"] = Json::array();
  for (const Report::Renamed& renamed : report.renamed) {
    if (json["renamed"].size() == kMaxRenamedSent) break;
    json["renamed"].push_back(
        {renamed.from.substr(0, kMaxTextBytes), renamed.to.substr(0, kMaxTextBytes)});
  }
  json["rank_min"] = report.rank_min;
  json["rank_max"] = report.rank_max;
  json["norm_a"] = report.max_norm_a;
  json["norm_b"] = report.max_norm_b;
  json["page_error"] = report.page_error ? Json(*report.page_error) : Json(nullptr);
  return json;
}

Json to_wire(const AdapterFacts& facts) {
  return {{"digest", to_hex(facts.digest)},     {"rank_max", facts.rank_max},
          {"num_tensors", facts.num_tensors},   {"targets", facts.target_modules},
          {"packed_bytes", facts.packed_bytes}, {"is_plain", facts.is_plain},
          {"invocation", facts.invocation}};
}

// Reads members of one object; after any that is not what it has to be, ok() is false for good.
class Members {
 public:
  Members(const Json& object, std::size_t num_members) : object_(object) {
    ok_ = object.is_object() && object.size() == num_members;
  }

  bool ok() const { return ok_; }

  const Json* find(const char* name) {
    if (!ok_) return nullptr;
    const auto found = object_.find(name);
    ok_ = found != object_.end();
    return ok_ ? &*found : nullptr;
  }
  const Json* array(const char* name, std::size_t max_size) {
    const Json* const value = find(name);
    ok_ = ok_ && value->is_array() && value->size() <= max_size;
    return ok_ ? value : nullptr;
  }
  void read(const char* name, int& into) {
    const Json* const value = find(name);
    ok_ = ok_ && value->is_number_unsigned() &&
          value->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<int>::max()};
    if (ok_) into = value->get<int>();
  }
  void read(const char* name, std::uint64_t& into) {
    const Json* const value = find(name);
    ok_ = ok_ && value->is_number_unsigned();
    if (ok_) into = value->get<std::uint64_t>();
  }
  void read(const char* name, bool& into) {
    const Json* const value = find(name);
    ok_ = ok_ && value->is_boolean();
    if (ok_) into = value->get<bool>();
  }
  void read(const char* name, double& into) {
    const Json* const value = find(name);
    ok_ = ok_ && value->is_number();
    if (ok_) into = value->get<double>();
  }

  void read(const char* name, std::optional<double>& into) {
    const Json* const value = find(name);
    ok_ = ok_ && (value->is_null() || value->is_number());
    if (ok_ && !value->is_null()) into = value->get<double>();
  }

  void fail() { ok_ = false; }

 private:
  const Json& object_;
  bool ok_;
};

bool is_text(const Json& value) {
  return value.is_string() && value.get_ref<const std::string&>().size() <= kMaxTextBytes;
}

std::optional<Finding> parse_finding(const Json& wire) {
  constexpr int kMaxAbout = static_cast<int>(Finding::About::kTensor);
  if (!wire.is_array() || wire.size() != 7 || !wire[1].is_boolean() ||
      !wire[2].is_number_unsigned()) {
    return std::nullopt;
  }
  for (const std::size_t text : {0U, 3U, 4U, 5U, 6U}) {
    if (!is_text(wire[text])) return std::nullopt;
  }
  const auto code = finding_code_of(wire[0].get_ref<const std::string&>());
  if (!code || wire[2].get<std::uint64_t>() > kMaxAbout) return std::nullopt;
  return Finding{.code = *code,
                 .severity = wire[1].get<bool>() ? Severity::kError : Severity::kWarning,
                 .about = static_cast<Finding::About>(wire[2].get<int>()),
                 .subject = wire[3].get<std::string>(),
                 .expected = wire[4].get<std::string>(),
                 .actual = wire[5].get<std::string>(),
                 .message = wire[6].get<std::string>()};
}

void parse_findings(Members& members, Report& report) {
  const Json* const findings = members.array("findings", Report::kMaxFindings);
  if (findings == nullptr) return;
  for (const Json& wire : *findings) {
    auto finding = parse_finding(wire);
    if (!finding) return members.fail();
    report.findings.push_back(*std::move(finding));
  }
}

void parse_renamed(Members& members, Report& report) {
  const Json* const renamed = members.array("renamed", kMaxRenamed);
  if (renamed == nullptr) return;
  for (const Json& pair : *renamed) {
    const bool sound = pair.is_array() && pair.size() == 2 && is_text(pair[0]) && is_text(pair[1]);
    if (!sound) return members.fail();
    report.renamed.push_back({pair[0].get<std::string>(), pair[1].get<std::string>()});
  }
}

void parse_targets(Members& members, Report& report) {
  constexpr std::size_t kMaxTargets = 256;
  const Json* const targets = members.find("targets");
  if (targets == nullptr) return;
  if (!targets->is_object() || targets->size() > kMaxTargets) return members.fail();
  for (const auto& [name, count] : targets->items()) {
    if (name.size() > kMaxTextBytes || !count.is_number_unsigned()) return members.fail();
    report.coverage.modules_by_target[name] = static_cast<int>(count.get<std::uint32_t>());
  }
}

std::optional<Report> parse_report(const Json& json) {
  Report report;
  Members members(json, 13);
  parse_findings(members, report);
  parse_targets(members, report);
  parse_renamed(members, report);
  members.read("left_out", report.findings_left_out);
  members.read("tensors_total", report.coverage.tensors_total);
  members.read("tensors_bound", report.coverage.tensors_bound);
  members.read("modules_bound", report.coverage.modules_bound);
  members.read("rows_replaced", report.coverage.rows_replaced);
  members.read("rank_min", report.rank_min);
  members.read("rank_max", report.rank_max);
  members.read("norm_a", report.max_norm_a);
  members.read("norm_b", report.max_norm_b);
  members.read("page_error", report.page_error);
  if (!members.ok()) return std::nullopt;
  return report;
}

std::optional<AdapterFacts> parse_facts(const Json& json) {
  constexpr std::size_t kMaxTargets = 256;
  constexpr std::size_t kMaxInvocation = 4096;
  AdapterFacts facts;
  Members members(json, 7);
  members.read("rank_max", facts.rank_max);
  members.read("num_tensors", facts.num_tensors);
  members.read("packed_bytes", facts.packed_bytes);
  members.read("is_plain", facts.is_plain);
  const Json* const digest = members.find("digest");
  const Json* const targets = members.array("targets", kMaxTargets);
  const Json* const invocation = members.array("invocation", kMaxInvocation);
  if (!members.ok() || !digest->is_string()) return std::nullopt;
  const auto bytes = digest_from_hex(digest->get_ref<const std::string&>());
  if (!bytes) return std::nullopt;
  facts.digest = {*bytes};
  for (const Json& target : *targets) {
    if (!is_text(target)) return std::nullopt;
    facts.target_modules.push_back(target.get<std::string>());
  }
  for (const Json& token : *invocation) {
    if (!token.is_number_unsigned() || token.get<std::uint64_t>() > 0x7FFFFFFF) return std::nullopt;
    facts.invocation.push_back(token.get<TokenId>());
  }
  return facts;
}

}  // namespace

std::string to_text(const PackageVerdict& verdict) {
  Json json;
  json["report"] = to_wire(verdict.report);
  json["facts"] = verdict.facts ? to_wire(*verdict.facts) : Json(nullptr);
  json["too_large"] = verdict.too_large;
  return to_text(json);
}

Result<PackageVerdict> parse_verdict(std::string_view text) {
  const Error unsound{Code::kCorrupt, "The verdict is not one that a validation writes."};
  constexpr JsonLimits kLimits{
      .max_bytes = kMaxVerdictBytes, .max_depth = 6, .max_values = 200'000};
  const auto json = parse_json(text, kLimits);
  if (!json) return unsound;
  PackageVerdict verdict;
  Members members(*json, 3);
  members.read("too_large", verdict.too_large);
  const Json* const report = members.find("report");
  const Json* const facts = members.find("facts");
  if (!members.ok()) return unsound;
  auto read = parse_report(*report);
  if (!read) return unsound;
  verdict.report = *std::move(read);
  if (!facts->is_null()) {
    verdict.facts = parse_facts(*facts);
    if (!verdict.facts) return unsound;
  }
  // Facts without a sound report would be an adapter that nobody has accepted.
  if (verdict.report.ok() != verdict.facts.has_value()) return unsound;
  return verdict;
}

}  // namespace tessera
