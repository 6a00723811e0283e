# The tests of engine/text and of engine/model's files; paths relative to tests/engine/.
set(TESSERA_ENGINE_TEXT_TESTS
  model_config_test.cpp
  model_packed_test.cpp
  text_chat_template_test.cpp
  text_stop_strings_test.cpp
  text_tokenizer_test.cpp
  text_utf8_test.cpp)
