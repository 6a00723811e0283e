// adapter_operations.cpp — the shapes of /v1/adapters.
#include "adapters/alias.hpp"
#include "gateway/adapters/acceptance.hpp"
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

constexpr std::string_view kVersionPath = "/v1/adapters/{name}/versions/{version}";
constexpr std::int64_t kMaxVersionNumber = 1'000'000'000;

// Where an alias points: one version, or shares of several.
Members one_target() {
  return {{"version", integer(1, kMaxVersionNumber)}};
}
Members split_target() {
  return {{"split", array(ref("AliasShare"))}, {"sticky", ref("Stickiness")}};
}
// An object with either, beside other members.
Json with_target(const Members& before, const Members& after) {
  return either({object(joined(joined(before, one_target()), after)),
                 object(joined(joined(before, split_target()), after))});
}

Json labels() {
  return map(text());
}

Members version_members() {
  return {{"id", text()},
          {"object", constant("adapter.version")},
          {"adapter", text()},
          {"version", integer()},
          {"status", words({"validating", "ready", "failed", "quarantined"})},
          {"sha256", nullable(text())},
          {"config_sha256", nullable(text())},
          {"bytes", nullable(integer())},
          {"rank_max", nullable(integer())},
          {"target_modules", nullable(array(text()))},
          {"num_tensors", nullable(integer())},
          {"mixable", nullable(boolean())},
          {"created_at", unix_time()},
          {"created_by", text()},
          {"metadata", labels()},
          {"report_url", text()},
          optional("resident", object({{"device", boolean()},
                                       {"host", boolean()},
                                       {"loading", boolean()},
                                       {"pinned", boolean()}}))};
}

Json adapter() {
  return object({{"id", text()},
                 {"object", constant("adapter")},
                 {"name", text()},
                 {"tenant", text()},
                 {"base_model", text()},
                 {"created_at", unix_time()},
                 {"aliases", map(ref("AliasTarget"))},
                 {"versions", array(integer())},
                 {"labels", labels()},
                 {"etag", text()}});
}

Json report() {
  const Json finding = object({{"severity", words({"error", "warning"})},
                               {"code", text()},
                               optional("field", text()),
                               optional("tensor", text()),
                               optional("expected", text()),
                               optional("actual", text()),
                               {"message", text()}});
  const Json coverage = object({{"tensors_total", integer()},
                                {"tensors_bound", integer()},
                                {"modules_bound", integer()},
                                {"modules_by_target", map(integer())},
                                {"rows_replaced", integer()},
                                {"rank_min", integer()},
                                {"rank_max", integer()},
                                {"max_norm_a", nullable(number())},
                                {"max_norm_b", nullable(number())}});
  const Json probe = object({{"prompts", integer()},
                             {"max_abs_logit_delta_vs_base", nullable(number())},
                             {"max_abs_logit", nullable(number())},
                             {"relative_change_vs_base", nullable(number())},
                             {"changed_answers", integer()},
                             {"identical_to_base", boolean()},
                             {"nan", boolean()}});
  const Json check = object(
      {{"name", text()}, {"passed", boolean()}, optional("reason", text()), {"answer", text()}});
  const Json acceptance =
      object({{"passed", boolean()},
              {"checks", array(check)},
              {"usage", object({{"prompt_tokens", integer()}, {"completion_tokens", integer()}})}});
  return object({{"object", constant("adapter.validation_report")},
                 {"ok", boolean()},
                 {"findings", array(finding)},
                 optional("findings_left_out", integer()),
                 {"normalisation", array(object({{"from", text()}, {"to", text()}}))},
                 {"coverage", coverage},
                 optional("pages", object({{"type", constant("int8")},
                                           {"relative_error", nullable(number())}})),
                 optional("probe", probe),
                 optional("acceptance", acceptance)});
}

Json alias_set_request() {
  const Json share = request(
      {{"version", integer(1, kMaxVersionNumber)}, {"weight", integer(1, kMaxShareWeight)}});
  return either(
      {request({{"version", integer(1, kMaxVersionNumber)}, optional("sticky", ref("Stickiness"))}),
       request({{"split", array(share, 1, kMaxShares)}, optional("sticky", ref("Stickiness"))})});
}

Json event() {
  return object({{"object", constant("adapter.event")},
                 {"type", text()},
                 optional("created_at", unix_time()),
                 optional("adapter", text()),
                 optional("version", integer()),
                 optional("status", text()),
                 optional("alias", text()),
                 optional("target", ref("AliasTarget"))});
}

Json acceptance_request() {
  const Json expect = request({optional("contains", text()), optional("regex", text()),
                               optional("json_schema", map(any()))});
  const Json check = request({optional("name", text()),
                              optional("prompt", text()),
                              optional("messages", array(ref("ChatMessageRequest"))),
                              optional("max_tokens", integer(1, kMaxAcceptanceTokens)),
                              optional("seed", integer(0, INT64_MAX)),
                              optional("temperature", number(0.0, 2.0)),
                              {"expect", expect}});
  return request({{"checks", array(check)}});
}

void add_schemas(Json& schemas) {
  schemas["Stickiness"] = words({"user", "session", "none"});
  schemas["AliasShare"] = object({{"version", integer()}, {"weight", integer()}});
  schemas["AliasTarget"] = with_target({}, {});
  const Members head = {
      {"object", constant("adapter.alias")}, {"adapter", text()}, {"alias", text()}};
  const Members moved = {{"moved_at", unix_time()}, {"moved_by", text()}};
  const Members tail = joined({{"etag", text()}}, moved);
  schemas["AliasMove"] = with_target({}, moved);
  schemas["Alias"] = with_target(head, tail);
  schemas["AliasWithHistory"] =
      with_target(head, joined(tail, {{"history", array(ref("AliasMove"))}}));
  schemas["AliasList"] = object(
      {{"object", constant("list")}, {"data", array(ref("Alias"))}, {"has_more", boolean()}});
  schemas["Adapter"] = adapter();
  schemas["AdapterList"] = list_of("Adapter");
  schemas["AdapterVersion"] = object(version_members());
  schemas["AdapterVersionList"] = list_of("AdapterVersion");
  schemas["PublishedVersion"] =
      object(joined(version_members(), {{"report", ref("ValidationReport")}}));
  schemas["ValidationReport"] = report();
  schemas["AdapterEvent"] = event();
  schemas["AdapterDraft"] =
      object({{"id", text()},
              {"object", constant("adapter.draft")},
              {"adapter", text()},
              {"created_at", unix_time()},
              {"expires_at", unix_time()},
              {"files", map(object({{"bytes", integer()}, {"sha256", text()}}))}});
  schemas["Acceptance"] = object({{"object", constant("adapter.acceptance")},
                                  {"adapter", text()},
                                  {"checks", array(map(any()))}});
}

// The JSON that an upload may be instead of a form or an archive.
Members upload_members() {
  return {optional("alias", text(0, kMaxFieldBytes)), optional("metadata", labels()),
          optional("acceptance", map(any()))};
}
Json file_upload_request() {
  return request(joined(
      {optional("name", text(0, kMaxFieldBytes)), optional("file_id", text(0, kMaxFieldBytes))},
      upload_members()));
}

std::vector<Parameter> upload_query() {
  const Json on = words({"", "true", "false"});
  return {{"dry_run", on}, {"allow_noop", on}, {"wait", integer(0, kMaxUploadWait.count())}};
}

// The answers to a package, and `more`.
std::vector<Answer> upload_answers(std::string_view created) {
  const Json there = either({ref("PublishedVersion"), ref("ValidationReport")});
  Answer made{.status = 201, .schema = ref("PublishedVersion")};
  if (!created.empty()) made.schema = either({ref("PublishedVersion"), ref(created)});
  return {{.status = 200, .schema = there}, made, {.status = 202, .schema = ref("AdapterVersion")}};
}

void add_uploads(std::vector<Operation>& operations) {
  std::vector<Parameter> with_name = upload_query();
  with_name.push_back({"name", text()});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/adapters",
                        .summary = "Makes an adapter, with its first version or without.",
                        .answers = upload_answers("Adapter"),
                        .body = file_upload_request(),
                        .query = with_name,
                        .headers = {"Content-Digest"}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/adapters/{name}/versions",
                        .summary = "Makes a version.",
                        .answers = upload_answers(""),
                        .body = file_upload_request(),
                        .query = upload_query(),
                        .headers = {"Content-Digest"}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/adapters/{name}/versions/drafts",
                        .summary = "Begins a version whose files come one by one.",
                        .answers = {{201, ref("AdapterDraft")}}});
  operations.push_back({.method = "PUT",
                        .pattern = "/v1/adapters/{name}/versions/{draft}/files/{file}",
                        .summary = "Puts one file of a draft.",
                        .answers = {{200, ref("AdapterDraft")}},
                        .headers = {"Content-Digest"}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/adapters/{name}/versions/{draft}/complete",
                        .summary = "Makes a version of a draft.",
                        .answers = upload_answers(""),
                        .body = request(upload_members()),
                        .query = upload_query(),
                        .needs_body = false});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/adapters/{name}/versions/{draft}/cancel",
                        .summary = "Drops a draft.",
                        .answers = {{200, deleted("adapter.draft")}}});
}

void add_reading(std::vector<Operation>& operations) {
  const auto get = [&](std::string_view pattern, std::string_view summary,
                       std::vector<Answer> answers, std::vector<Parameter> query = {}) {
    operations.push_back({.method = "GET",
                          .pattern = pattern,
                          .summary = summary,
                          .answers = std::move(answers),
                          .query = std::move(query)});
  };
  const std::vector<Answer> events = {{200, text(), "text/event-stream", ref("AdapterEvent")}};
  get("/v1/adapters", "Lists adapters.", {{200, ref("AdapterList")}}, page_parameters());
  get("/v1/adapters/events", "What happens to adapters, as it happens.", events);
  get("/v1/adapters/{name}", "One adapter.", {{200, ref("Adapter")}});
  get("/v1/adapters/{name}/events", "What happens to one adapter.", events);
  get("/v1/adapters/{name}/versions", "Lists versions.", {{200, ref("AdapterVersionList")}},
      page_parameters());
  get(kVersionPath, "One version.", {{200, ref("AdapterVersion")}});
  get("/v1/adapters/{name}/versions/{version}/report", "What validation found.",
      {{200, ref("ValidationReport")}});
  get("/v1/adapters/{name}/versions/{version}/files/{file}", "A version's file.",
      {{200, any(), "application/octet-stream"}, {200, any(), kJsonMedia}});
  get("/v1/adapters/{name}/acceptance", "The checks that versions have to pass.",
      {{200, ref("Acceptance")}});
  get("/v1/adapters/{name}/aliases", "Where names point.", {{200, ref("AliasList")}});
  get("/v1/adapters/{name}/aliases/{alias}", "Where a name points, and pointed.",
      {{200, ref("AliasWithHistory")}});
}

void add_changes(std::vector<Operation>& operations) {
  const auto change = [&](std::string_view method, std::string_view pattern,
                          std::string_view summary, Answer answer, Json body = nullptr) {
    operations.push_back({.method = method,
                          .pattern = pattern,
                          .summary = summary,
                          .answers = {std::move(answer)},
                          .body = std::move(body),
                          .headers = {"If-Match"}});
  };
  change("PATCH", "/v1/adapters/{name}", "Changes labels.", {200, ref("Adapter")},
         request({{"labels", map(nullable(text()))}}));
  change("DELETE", "/v1/adapters/{name}", "Deletes an adapter.", {200, deleted("adapter")});
  change("POST", "/v1/adapters/{name}/versions/{version}/preload", "Loads a version.",
         {202, ref("AdapterVersion")});
  change("POST", "/v1/adapters/{name}/versions/{version}/pin", "Keeps a version in memory.",
         {202, ref("AdapterVersion")});
  change("POST", "/v1/adapters/{name}/versions/{version}/unpin", "Takes a pin back.",
         {200, ref("AdapterVersion")});
  change("POST", "/v1/adapters/{name}/versions/{version}/evict", "Drops a version's pages.",
         {200, ref("AdapterVersion")});
  change("PUT", "/v1/adapters/{name}/acceptance", "Sets the checks.", {200, ref("Acceptance")},
         acceptance_request());
  change("DELETE", "/v1/adapters/{name}/acceptance", "Removes the checks.",
         {200, ref("Acceptance")});
  for (const char* method : {"POST", "PUT"}) {
    change(method, "/v1/adapters/{name}/aliases/{alias}", "Points a name somewhere.",
           {200, ref("Alias")}, alias_set_request());
  }
  change("POST", "/v1/adapters/{name}/aliases/{alias}/rollback", "Points it where it was before.",
         {200, ref("Alias")});
  change("DELETE", "/v1/adapters/{name}/aliases/{alias}", "Removes a name.",
         {200, deleted("adapter.alias")});
  change("DELETE", kVersionPath, "Deletes a version.", {200, deleted("adapter.version")});
  operations.back().query = {{"force", words({"", "true", "false"})}};
}

}  // namespace

void describe_adapters(Surface& surface) {
  add_schemas(surface.schemas);
  add_uploads(surface.operations);
  add_reading(surface.operations);
  add_changes(surface.operations);
}

}  // namespace tessera::openapi
