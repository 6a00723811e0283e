#include "gateway/openapi/document.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/http/idempotency.hpp"
#include "gateway/openapi/operations.hpp"
#include "gateway/version.hpp"
#include "storage/json.hpp"
#include "tenancy/scope.hpp"

namespace tessera::openapi {
namespace {

constexpr std::string_view kAuthentication = "apiKey";

constexpr std::string_view kDescription =
    "A multi-tenant server of LoRA adapters on one base model. Every answer carries X-Request-Id; "
    "errors have one form, which is both OpenAI's and that of RFC 9457.";

Surface whole_surface() {
  Surface surface;
  describe_inference(surface);
  describe_responses(surface);
  describe_adapters(surface);
  describe_files(surface);
  describe_tenant(surface);
  describe_admin(surface);
  describe_webhooks(surface);
  describe_usage(surface);
  describe_ops(surface);
  describe_server(surface);
  return surface;
}

std::string name_of(std::string_view method, std::string_view pattern) {
  return std::string(method) + ' ' + std::string(pattern);
}

const Operation* find(const Surface& surface, const Route& route) {
  const auto found = std::ranges::find_if(surface.operations, [&](const Operation& operation) {
    return operation.method == route.method && operation.pattern == route.pattern;
  });
  return found == surface.operations.end() ? nullptr : &*found;
}

// "post_v1_adapters_name_versions": stable, and made of nothing but the route.
std::string operation_id(const Route& route) {
  std::string id;
  for (const char c : route.method) id += static_cast<char>(std::tolower(c));
  for (const char c : route.pattern) {
    if (is_alphanumeric(c)) {
      id += c;
    } else if (id.back() != '_') {
      id += '_';
    }
  }
  if (id.back() == '_') id.pop_back();
  return id;
}

Json parameter_json(std::string_view name, std::string_view place, Json schema, bool required) {
  Json json;
  json["name"] = name;
  json["in"] = place;
  if (required) json["required"] = true;
  json["schema"] = std::move(schema);
  return json;
}

void add_path_parameters(std::string_view pattern, Json& parameters) {
  for (auto open = pattern.find('{'); open != pattern.npos; open = pattern.find('{', open + 1)) {
    const auto name = pattern.substr(open + 1, pattern.find('}', open) - open - 1);
    Json schema = text();
    schema["minLength"] = 1;
    parameters.push_back(parameter_json(name, "path", std::move(schema), true));
  }
}

Json parameters_json(const Route& route, const Operation& operation) {
  Json parameters = Json::array();
  add_path_parameters(route.pattern, parameters);
  for (const Parameter& parameter : operation.query) {
    parameters.push_back(
        parameter_json(parameter.name, "query", parameter.schema, parameter.required));
  }
  if (route.method != "GET") {
    Json key = text(1, kMaxIdempotencyKeyChars);
    parameters.push_back(parameter_json("Idempotency-Key", "header", std::move(key), false));
  }
  for (const std::string_view header : operation.headers) {
    parameters.push_back(parameter_json(header, "header", text(), false));
  }
  return parameters;
}

// The parts that the route's form may have.
Json form_json(const Route& route) {
  Json schema;
  schema["type"] = "object";
  schema["properties"] = Json::object();
  for (const PartRule& part : route.parts) {
    Json value = text();
    if (part.kind == PartRule::Kind::kFile) {
      value = Json::object();
      value["contentMediaType"] = "application/octet-stream";
    }
    schema["properties"][std::string(part.name)] = std::move(value);
  }
  schema["additionalProperties"] = false;
  return schema;
}

Json bytes_json() {
  Json media;
  media["schema"] = Json::object();
  return media;
}

Json body_json(const Route& route, const Operation& operation) {
  Json body;
  Json& content = body["content"] = Json::object();
  if (route.body == Body::kForm || route.body == Body::kPackage) {
    content["multipart/form-data"]["schema"] = form_json(route);
  }
  if (route.body == Body::kPackage) {
    for (const char* type :
         {"application/x-tar", "application/gzip", "application/zstd", "application/zip"}) {
      content[type] = bytes_json();
    }
  }
  if (route.body == Body::kFile) content["application/octet-stream"] = bytes_json();
  if (!operation.body.is_null()) content[std::string(kJsonMedia)]["schema"] = operation.body;
  if (content.empty()) return nullptr;
  body["required"] = route.body != Body::kNone && operation.needs_body;
  return body;
}

Json response_json(std::string_view description, const Answer& answer) {
  Json response;
  response["description"] = description;
  response["headers"]["X-Request-Id"]["schema"] = pattern("^req_[0-9A-Z]{26}$");
  Json& media = response["content"][std::string(answer.media)];
  media["schema"] = answer.schema;
  if (!answer.event.is_null()) media["x-tessera-event"] = answer.event;
  return response;
}

// In either media type the body is the same.
Json error_json(std::string_view description) {
  Json response = response_json(description, {.schema = ref("Error")});
  response["content"]["application/problem+json"] = response["content"][std::string(kJsonMedia)];
  return response;
}

Json responses_json(const Operation& operation, bool is_ops) {
  Json responses;
  for (const Answer& answer : operation.answers) {
    const std::string status = std::to_string(answer.status);
    if (!responses.contains(status)) {
      responses[status] = response_json(reason_phrase(answer.status), answer);
      continue;
    }
    // The same status in another media type.
    const Json more = response_json("", answer);
    responses[status]["content"].update(more["content"]);
  }
  responses["4XX"] = error_json("What is wrong with the request, by its code");
  if (is_ops) return responses;
  for (const int status : {503, 504}) {
    responses[std::to_string(status)] = error_json(reason_phrase(status));
  }
  return responses;
}

Json operation_json(const Route& route, const Operation& operation) {
  const bool is_ops = route.access == Access::kPublic;
  Json json;
  json["operationId"] = operation_id(route);
  json["summary"] = operation.summary;
  json["tags"] = Json::array({is_ops ? "operations" : "api"});
  const auto scope = scope_of(route.access);
  if (scope) json["x-tessera-scope"] = to_string(*scope);
  json["security"] = Json::array();
  if (!is_ops) json["security"].push_back({{std::string(kAuthentication), Json::array()}});
  Json parameters = parameters_json(route, operation);
  if (!parameters.empty()) json["parameters"] = std::move(parameters);
  Json body = body_json(route, operation);
  if (!body.is_null()) json["requestBody"] = std::move(body);
  json["responses"] = responses_json(operation, is_ops);
  return json;
}

// What all operations share: the error, whose details depend on what was refused.
Json error_schema() {
  const Json finding = object(
      {optional("param", text()), {"pointer", text()}, {"keyword", text()}, {"reason", text()}});
  const Json refusal = object({{"policy", text()},
                               {"level", text()},
                               optional("limit", integer()),
                               {"requested", integer()},
                               optional("remaining", integer()),
                               optional("retry_after_ms", integer())});
  const Json report =
      object({{"report", ref("ValidationReport")}, optional("version", ref("AdapterVersion"))});
  const Json inner = object({{"message", text()},
                             {"type", text()},
                             {"param", nullable(text())},
                             {"code", text()},
                             {"request_id", text()},
                             optional("details", either({refusal, report, array(finding)}))});
  return object({{"error", inner},
                 {"type", text()},
                 {"title", text()},
                 {"status", integer(400, 599)},
                 {"detail", text()},
                 {"instance", text()}});
}

void add_paths(std::span<const Route> routes, const Surface& surface, Json& paths) {
  for (const Route& route : routes) {
    const Operation* operation = find(surface, route);
    if (operation == nullptr) continue;  // undescribed_routes() tells it
    std::string method(route.method);
    std::ranges::transform(method, method.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    paths[std::string(route.pattern)][method] = operation_json(route, *operation);
  }
}

}  // namespace

Json document() {
  const Surface surface = whole_surface();
  Json json;
  json["openapi"] = "3.1.0";
  json["info"] = {{"title", "Tessera"}, {"version", kVersion}, {"description", kDescription}};
  json["servers"] = Json::array({{{"url", "/"}, {"description", "tenants and admins"}}});
  json["paths"] = Json::object();
  add_paths(api_routes(), surface, json["paths"]);
  add_paths(ops_routes(), surface, json["paths"]);
  json["components"]["schemas"] = surface.schemas;
  json["components"]["schemas"]["Error"] = error_schema();
  json["components"]["securitySchemes"][std::string(kAuthentication)] = {
      {"type", "http"},
      {"scheme", "bearer"},
      {"description",
       "an API key: sk-...; with serve --api-key-header also in a header `api-key`"}};
  return json;
}

const std::string& document_text() {
  static const std::string text = to_text(document()) + "\n";
  return text;
}

std::vector<std::string> undescribed_routes() {
  const Surface surface = whole_surface();
  std::vector<std::string> names;
  for (const auto routes : {api_routes(), ops_routes()}) {
    for (const Route& route : routes) {
      if (find(surface, route) == nullptr) names.push_back(name_of(route.method, route.pattern));
    }
  }
  return names;
}

std::vector<std::string> unrouted_operations() {
  const Surface surface = whole_surface();
  std::vector<std::string> names;
  for (const Operation& operation : surface.operations) {
    bool routed = false;
    for (const auto routes : {api_routes(), ops_routes()}) {
      routed = routed || std::ranges::any_of(routes, [&](const Route& route) {
                 return find({.operations = {operation}}, route) != nullptr;
               });
    }
    if (!routed) names.push_back(name_of(operation.method, operation.pattern));
  }
  return names;
}

std::vector<Parameter> page_parameters() {
  return {{"limit", integer(1, kMaxPageSize)},
          {"order", words({"asc", "desc"})},
          {"after", text()},
          {"before", text()}};
}

std::vector<Parameter> page_parameters_and(std::vector<Parameter> more) {
  std::vector<Parameter> all = page_parameters();
  std::ranges::move(more, std::back_inserter(all));
  return all;
}

}  // namespace tessera::openapi
