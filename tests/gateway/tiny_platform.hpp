// tiny_platform.hpp — a whole platform over a tiny random model that speaks bytes.
//
// The model is the base of tests/adapters/test_package.hpp with a byte for a token, so adapters of
// that file's packages fit it.
#pragma once

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

#include "engine/model/random_model.hpp"
#include "gateway/adapters/upload_forms.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"
#include "tests/adapters/test_package.hpp"
#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera {

// Tokens. Long enough for an answer that a test can break off.
inline constexpr int kTinyContext = 16384;

inline ModelSpec tiny_spec() {
  ModelSpec spec = test_base().spec;
  spec.vocab_size = kByteVocab;
  spec.max_positions = kTinyContext;
  spec.tied_embeddings = true;
  spec.ropes = {{.inv_freq = plain_inv_freq(10000.0F, spec.head_dim)}};
  for (LayerSpec& layer : spec.layers) layer.attention_scale = 0.25F;
  return spec;
}

inline ModelInfo tiny_info() {
  ModelInfo info;
  info.name = test_base().name;
  info.tokenizer = byte_tokenizer_json();
  info.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}";
  info.bos_token = "<s>";
  info.eos_token = "</s>";
  info.eos_ids = {kEosId};
  return info;
}

// Serves it from `directory`, for the rest as `config` says.
inline std::unique_ptr<Platform> open_tiny_platform(const std::filesystem::path& directory,
                                                    ServerConfig config = {}) {
  config.model = directory / "tiny";
  config.data = directory / "data";
  config.threads = 1;
  config.kv_bytes = std::int64_t{16} << 20;
  const auto written = write_random_model(tiny_spec(), /*seed=*/7, config.model, tiny_info());
  EXPECT_TRUE(written) << written.error().message;
  auto opened = Platform::open(config);
  EXPECT_TRUE(opened) << opened.error().message;
  return std::move(opened).value();
}

inline constexpr std::string_view kFormType = "multipart/form-data; boundary=x";

// The body of an upload, of type kFormType; the adapter's values depend on the seed.
inline std::string upload_form(const std::string& name, unsigned seed = 1) {
  const TestPackage package(seed);
  const auto tensors = package.tensor_bytes();
  std::string body;
  const auto add = [&](const std::string& part, std::string_view content) {
    body += "--x\r\nContent-Disposition: form-data; name=\"" + part + "\"\r\n\r\n";
    body.append(content).append("\r\n");
  };
  add("name", name);
  add("adapter_config", package.config_text());
  add("adapter_model", {reinterpret_cast<const char*>(tensors.data()), tensors.size()});
  return body + "--x--\r\n";
}

// Puts an upload's form where a session would have put it.
inline void stage_upload(Platform& platform, Call& call, std::string_view form) {
  const auto stage =
      stage_form(kFormType, kAdapterForm, *platform.staging, call.caller.tenant.str());
  ASSERT_TRUE((*stage)->write(form));
  auto staged = (*stage)->finish();
  ASSERT_TRUE(staged) << staged.error().message;
  call.staged = *std::move(staged);
}

// What a handler says in the end, when the work that it puts off is done.
inline Result<Reply> settled(Result<Reply> reply) {
  while (reply) {
    if (const auto* deferred = std::get_if<std::unique_ptr<Deferred>>(&*reply)) {
      const auto work = (*deferred)->work;
      reply = work();
    } else if (const auto* awaited = std::get_if<std::unique_ptr<Awaited>>(&*reply)) {
      std::promise<void> done;
      (*awaited)->start([&done] { done.set_value(); });
      done.get_future().wait();
      reply = (*awaited)->take();
    } else {
      break;
    }
  }
  return reply;
}

}  // namespace tessera
