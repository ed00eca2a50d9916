# Included by llama.cpp's CMakeLists.txt, through CMAKE_PROJECT_llama.cpp_INCLUDE (scripts/venv):
# llama-cpp-python forces the common library on, but only mtmd uses it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "Build llama.cpp common library" FORCE)
