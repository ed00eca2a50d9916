# Included by llama.cpp's CMakeLists.txt, through CMAKE_PROJECT_llama.cpp_INCLUDE (scripts/venv).

# llama-cpp-python forces the common library on, but only mtmd uses it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "Build llama.cpp common library" FORCE)

# Where the patch does not fit, another version of llama.cpp, ner-edge does without AMX. git must not
# take the paths for those of a repository that llama.cpp happens to be unpacked in.
execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env "GIT_CEILING_DIRECTORIES=${CMAKE_CURRENT_SOURCE_DIR}/.."
        git apply "${CMAKE_CURRENT_LIST_DIR}/llama-amx.patch"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
)
