// The job's half of validation_wire.hpp: ours on both sides, so a fault in it is a mistake of ours.
#include <nlohmann/json.hpp>

#include "adapters/sandbox/validation_wire.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json to_wire(const PackageDescriptors& files) {
  Json tokenizer = Json::array();
  for (const auto& file : files.tokenizer) tokenizer.push_back({file.name, file.descriptor});
  return {{"config", files.config},
          {"tensors", files.tensors},
          {"archive", files.archive},
          {"tokenizer", tokenizer},
          {"packed", files.packed}};
}

PackageDescriptors parse_files(const Json& json) {
  PackageDescriptors files{.config = json.at("config").get<int>(),
                           .tensors = json.at("tensors").get<int>(),
                           .archive = json.at("archive").get<int>(),
                           .packed = json.at("packed").get<int>()};
  for (const Json& file : json.at("tokenizer")) {
    files.tokenizer.push_back({file.at(0).get<std::string>(), file.at(1).get<int>()});
  }
  return files;
}

ValidationJob parse(const Json& json) {
  ValidationJob job;
  job.parent_pid = json.at("parent").get<int>();
  job.base_digest = json.at("base").get<std::string>();
  job.base_aliases = json.at("aliases").get<std::vector<std::string>>();
  job.files = parse_files(json.at("files"));
  job.model = json.at("model").get<int>();
  job.page_type = static_cast<PageType>(json.at("page_type").get<int>());
  job.limits = {.max_tensors_bytes = json.at("max_tensors_bytes").get<std::uint64_t>(),
                .max_tokenizer_bytes = json.at("max_tokenizer_bytes").get<std::uint64_t>(),
                .max_packed_bytes = json.at("max_packed_bytes").get<std::uint64_t>()};
  job.confinement = {.cpu_seconds = json.at("cpu_seconds").get<std::uint64_t>(),
                     .address_space_bytes = json.at("address_space_bytes").get<std::uint64_t>(),
                     .file_bytes = json.at("file_bytes").get<std::uint64_t>()};
  job.only_confine = json.at("only_confine").get<bool>();
  job.misbehaviour = static_cast<Misbehaviour>(json.at("misbehaviour").get<int>());
  return job;
}

}  // namespace

std::string to_text(const ValidationJob& job) {
  Json json;
  json["parent"] = job.parent_pid;
  json["base"] = job.base_digest;
  json["aliases"] = job.base_aliases;
  json["files"] = to_wire(job.files);
  json["model"] = job.model;
  json["page_type"] = static_cast<int>(job.page_type);
  json["max_tensors_bytes"] = job.limits.max_tensors_bytes;
  json["max_tokenizer_bytes"] = job.limits.max_tokenizer_bytes;
  json["max_packed_bytes"] = job.limits.max_packed_bytes;
  json["cpu_seconds"] = job.confinement.cpu_seconds;
  json["address_space_bytes"] = job.confinement.address_space_bytes;
  json["file_bytes"] = job.confinement.file_bytes;
  json["only_confine"] = job.only_confine;
  json["misbehaviour"] = static_cast<int>(job.misbehaviour);
  return to_text(json);
}

Result<ValidationJob> parse_validation_job(std::string_view text) {
  const auto json = parse_json(text);
  if (!json) return json.error();
  try {
    return parse(*json);
  } catch (const Json::exception& exception) {
    return Error{Code::kInvalidValue, exception.what()};
  }
}

}  // namespace tessera
