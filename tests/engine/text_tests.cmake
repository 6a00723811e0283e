# The tests of engine/text and of engine/model's files; paths relative to tests/engine/.
set(TESSERA_ENGINE_TEXT_TESTS
  model_config_test.cpp
  text_answer_parser_test.cpp
  text_chat_template_test.cpp
  text_gguf_vocabulary_test.cpp
  text_json_scanner_test.cpp
  text_regex_test.cpp
  text_stop_strings_test.cpp
  text_template_traits_test.cpp
  text_tokenizer_identity_test.cpp
  text_tokenizer_test.cpp
  text_utf8_test.cpp)
