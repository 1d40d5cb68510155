"""Documents from files and folders: one reader a format, run where it can do no harm, and folders kept in step."""

from langchain_klue_rerank.files.folders import load_folder
from langchain_klue_rerank.files.loading import load_documents
from langchain_klue_rerank.files.reasons import UnreadableFileError

__all__ = ["UnreadableFileError", "load_documents", "load_folder"]
