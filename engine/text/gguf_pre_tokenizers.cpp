#include "engine/text/gguf_pre_tokenizers.hpp"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// The expressions are facts about the models' own tokenizer.json files.
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kLineBreak = R"([\r\n])";
constexpr const char* kDeepSeekLetters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf})"
    R"(\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f})"
    R"(\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481})"
    R"(\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd})"
    R"(\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d})"
    R"(\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc})"
    R"(\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f})"
    R"(\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2})"
    R"(\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr const char* kDeepSeekPunctuation =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr const char* kDeepSeekIdeographs =
    R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr const char* kDeepSeek3Kana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr const char* kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
    R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBloom =
    R"( ?[^(\s|[.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c}])]+)";

Json split(const char* pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json digits(bool individual) {
  return {{"type", "Digits"}, {"individual_digits", individual}};
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json sequence(std::initializer_list<Json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", Json::array_t(steps)}};
}

// Texts cut by one expression.
Json by(const char* pattern) {
  return sequence({split(pattern), byte_level(false)});
}

Json falcon() {
  return sequence({{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                   byte_level(true),
                   digits(false),
                   split("[0-9][0-9][0-9]")});
}

Json deepseek_llm() {
  return sequence({split(kLineBreak), split(kDeepSeekLetters), split(kDeepSeekPunctuation),
                   split(R"(\s+$)"), split(kDeepSeekIdeographs), digits(true), byte_level(false)});
}

Json deepseek_coder() {
  return sequence({split(kLineBreak), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
                   split(kDeepSeekIdeographs), digits(true), byte_level(false)});
}

Json deepseek_3() {
  return sequence(
      {split(R"(\p{N}{1,3})"), split(kDeepSeek3Kana), split(kDeepSeek3), byte_level(false)});
}

struct Family {
  std::vector<std::string_view> names;
  Json (*pre_tokenizer)();
  const char* normalizer = nullptr;
  bool ignore_merges = false;
  bool add_bos = false;
};

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies = {
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       [] { return by(kLlama3); },
       nullptr,
       true,
       true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, [] { return by(kLlama3); }},
      {{"glm4"}, [] { return by(kLlama3); }, nullptr, true},
      {{"qwen2", "deepseek-r1-qwen", "megrez"}, [] { return by(kQwen2); }, "NFC"},
      {{"stablelm2", "hunyuan"}, [] { return by(kQwen2); }},
      {{"qwen35"}, [] { return by(kQwen35); }, "NFC"},
      {{"tekken"}, [] { return by(kTekken); }, nullptr, true, true},
      {{"gpt-4o", "llama4"}, [] { return by(kGpt4o); }},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "roberta-bpe"},
       [] { return byte_level(true); }},
      {{"starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b"},
       [] {
         return sequence({digits(true), byte_level(true)});
       }},
      {{"command-r"},
       [] {
         return sequence({digits(true), byte_level(true)});
       },
       "NFC"},
      {{"falcon"}, falcon},
      {{"deepseek-llm"}, deepseek_llm},
      {{"deepseek-coder"}, deepseek_coder},
      {{"deepseek-v3", "hunyuan-dense"}, deepseek_3},
      {{"bloom", "poro-chat", "gpt3-finnish"}, [] { return by(kBloom); }},
  };
  return kFamilies;
}

}  // namespace

bool find_gguf_pre_tokenizer(std::string_view name, GgufPreTokenizer& out) {
  for (const Family& family : families()) {
    if (std::find(family.names.begin(), family.names.end(), name) == family.names.end()) continue;
    out.normalizer = family.normalizer ? Json{{"type", family.normalizer}} : Json(nullptr);
    out.pre_tokenizer = family.pre_tokenizer();
    out.ignore_merges = family.ignore_merges;
    out.add_bos = family.add_bos;
    return true;
  }
  return false;
}

}  // namespace tessera
