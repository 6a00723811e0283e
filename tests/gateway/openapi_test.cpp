#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/openapi/document.hpp"
#include "gateway/routes.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Every "$ref" below `value`.
void collect_references(const Json& value, std::set<std::string>& found) {
  if (value.is_object() && value.contains("$ref")) found.insert(value.at("$ref"));
  if (!value.is_structured()) return;
  for (const Json& item : value) collect_references(item, found);
}

TEST(OpenApi, EveryRouteIsDescribed) {
  for (const std::string& route : openapi::undescribed_routes()) {
    ADD_FAILURE() << route
                  << " has no schema: add an Operation of this method and pattern to the file of "
                     "its surface, which gateway/openapi/operations.hpp lists";
  }
}

TEST(OpenApi, NothingElseIsDescribed) {
  for (const std::string& name : openapi::unrouted_operations()) {
    ADD_FAILURE() << name << " is described in gateway/openapi and is in no route table";
  }
}

TEST(OpenApi, EveryReferenceHasItsSchema) {
  const Json document = openapi::document();
  std::set<std::string> references;
  collect_references(document, references);
  EXPECT_GT(references.size(), 40U);
  for (const std::string& reference : references) {
    ASSERT_TRUE(reference.starts_with("#/")) << reference;
    EXPECT_TRUE(document.contains(Json::json_pointer(reference.substr(1)))) << reference;
  }
}

TEST(OpenApi, EverySchemaIsUsed) {
  const Json document = openapi::document();
  std::set<std::string> references;
  collect_references(document, references);
  for (const auto& [name, schema] : document.at("components").at("schemas").items()) {
    EXPECT_TRUE(references.contains("#/components/schemas/" + name)) << name;
  }
}

TEST(OpenApi, SaysWhatTheRouteTableSays) {
  const Json document = openapi::document();
  std::set<std::string> ids;
  for (const Route& route : api_routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const Json& operation = document.at("paths").at(std::string(route.pattern)).at(method);
    EXPECT_TRUE(ids.insert(operation.at("operationId")).second) << operation.at("operationId");
    EXPECT_FALSE(operation.at("security").empty()) << route.pattern;
    const bool staged =
        route.body == Body::kForm || route.body == Body::kPackage || route.body == Body::kFile;
    const bool has_body = staged || route.body == Body::kJson;
    EXPECT_TRUE(!has_body || operation.contains("requestBody")) << method << route.pattern;
    EXPECT_TRUE(operation.at("responses").contains("4XX")) << route.pattern;
  }
}

TEST(OpenApi, IsOneLineThatCanBeReadAgain) {
  const std::string& text = openapi::document_text();
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  const auto read = parse_json(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->at("openapi"), "3.1.0");
}

}  // namespace
}  // namespace tessera
